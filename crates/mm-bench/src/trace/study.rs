//! The parameter study: variants of eviction over segments, each different from the default in one respect.

use super::engine::Engine;
use super::policy::segments::settings::{Decay, Settings};

/// The default first, then the variants, then what is built and S3-FIFO without any addition.
pub(crate) fn variants() -> Vec<Engine> {
    let mut engines = vec![Engine::segments("default", Settings::default())];
    let mut vary = |name: &str, change: &dyn Fn(&mut Settings)| {
        let mut settings = Settings::default();
        change(&mut settings);
        engines.push(Engine::segments(name, settings));
    };
    for permille in [30, 50, 200] {
        vary(&format!("small {} %", permille / 10), &|s| s.small_permille = permille);
    }
    vary("small 10 %, fixed", &|s| s.adapts = false);
    vary("loops: 1 in 64", &|s| s.chance_permille = 16);
    vary("loops: 1 in 32", &|s| s.chance_permille = 32);
    vary("promote at 1", &|s| s.promote_at = 1);
    vary("promote at 3", &|s| s.promote_at = 3);
    vary("never lenient", &|s| s.lenient_above = 0);
    vary("frequency to 1", &|s| (s.frequency_max, s.promote_at) = (1, 1));
    vary("frequency to 7", &|s| s.frequency_max = 7);
    vary("decay: half", &|s| (s.frequency_max, s.decay) = (7, Decay::Halve));
    vary("decay: clear", &|s| s.decay = Decay::Clear);
    for (name, power) in [("0", 0.0), ("1/4", 0.25), ("3/4", 0.75), ("1", 1.0)] {
        vary(&format!("size power {name}"), &|s| s.size_power = power);
    }
    for permille in [250, 500, 750, 1500, 2000, 3000] {
        vary(&format!("ghosts {permille} permille"), &|s| s.ghosts_permille = permille);
    }
    vary("dead 50 %, no credit", &|s| (s.dead_permille, s.copy_permille) = (500, 0));
    vary("dead 30 %, no credit", &|s| s.copy_permille = 0);
    vary("dead 10 %, no credit", &|s| (s.dead_permille, s.copy_permille) = (100, 0));
    vary("copy credit 0.5", &|s| s.copy_permille = 500);
    vary("copy credit 2", &|s| s.copy_permille = 2000);
    vary("TTL groups 1", &|s| s.ttl_groups = 1);
    vary("TTL groups 3", &|s| s.ttl_groups = 3);
    vary("best of 4 segments", &|s| s.candidates = 4);
    vary("best of 16 segments", &|s| s.candidates = 16);
    vary("keep best 50 %", &|s| s.kept_permille = 500);
    vary("keep best 80 %", &|s| s.kept_permille = 800);
    vary("segments 1/128", &|s| s.segments = 128);
    vary("segments 1/2048", &|s| s.segments = 2048);
    engines.push(Engine::segments("as built", Settings::built()));
    engines.push(Engine::segments("plain", Settings::plain()));
    engines
}
