//! The command line.

use mm_sim::{CANARIES, Canary};

/// What can be given.
pub(crate) const USAGE: &str = "usage: cargo xtask sim ARGUMENTS
  [--seed N [--show] | --seeds M [--from N] [--jobs J] | --canary NAME|all | --hour]
  --seed N    run one seed and show what it did
  --show      show each request as it is executed, and what is answered
  --seeds M   run M seeds (100 if nothing is given)
  --from N    the first of them (0); with 1000 or more, every marked path has to be reached
  --jobs J    run J of them at a time (as many as there are processors)
  --canary    make a mistake on purpose (lost-wake-up, dropped-byte, stale-read, leaked-buffer, pin-ignored,
              expired-item-served, connection-closed-for-nothing, eviction-not-counted, lent-memory-marked): it has to
              be caught
  --hour      hours of items of all ages: how much memory the dead ones hold";

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Seeds,
    Canaries(Vec<&'static Canary>),
    Hour,
}

/// The command line read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) what: What,
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) show: bool,
    /// Seeds that run at a time.
    pub(crate) jobs: u64,
}

impl Arguments {
    /// Reads the words behind the program's name.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut arguments =
            Self { what: What::Seeds, first: 0, count: 100, show: false, jobs: processors as u64 };
        while let Some(word) = words.next() {
            let mut number = || {
                let given = words.next().ok_or_else(|| format!("{word} needs a number"))?;
                given.parse::<u64>().map_err(|_invalid| format!("{word} needs a number, not '{given}'"))
            };
            match word.as_str() {
                "--seed" => (arguments.first, arguments.count) = (number()?, 1),
                "--seeds" => match number()? {
                    0 => return Err("--seeds 0 would run nothing; give 1 or more".to_owned()),
                    count => arguments.count = count,
                },
                "--hour" => arguments.what = What::Hour,
                "--canary" => {
                    let name = words.next().unwrap_or_else(|| "all".to_owned());
                    arguments.what = What::Canaries(canaries(&name)?);
                }
                "--show" => arguments.show = true,
                "--from" => arguments.first = number()?,
                "--jobs" => arguments.jobs = number()?,
                _ => return Err(format!("there is no argument '{word}'")),
            }
        }
        Ok(arguments)
    }
}

/// The mistakes of this name, written with hyphens for spaces.
fn canaries(name: &str) -> Result<Vec<&'static Canary>, String> {
    let is_meant =
        |canary: &&Canary| name == "all" || canary.name.replace(' ', "-") == name.replace(' ', "-");
    let meant: Vec<&'static Canary> = CANARIES.iter().filter(is_meant).collect();
    if meant.is_empty() { Err(format!("there is no canary '{name}'")) } else { Ok(meant) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(format!("--jobs 3 {line}").split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments_and_their_faults() {
        let what = What::Seeds;
        assert_eq!(
            parse(""),
            Ok(Arguments { what: what.clone(), first: 0, count: 100, show: false, jobs: 3 })
        );
        assert_eq!(
            parse("--seed 7 --show"),
            Ok(Arguments { what: what.clone(), first: 7, count: 1, show: true, jobs: 3 })
        );
        assert_eq!(
            parse("--seeds 5 --from 9 --jobs 2"),
            Ok(Arguments { what, first: 9, count: 5, show: false, jobs: 2 })
        );
        let stale_read = CANARIES.iter().find(|canary| canary.name == "stale read").unwrap();
        assert_eq!(
            parse("--canary stale-read").map(|found| found.what),
            Ok(What::Canaries(vec![stale_read]))
        );
        assert_eq!(parse("--canary"), parse("--canary all"));
        assert_eq!(parse("--canary x"), Err("there is no canary 'x'".to_owned()));
        assert_eq!(parse("--seed"), Err("--seed needs a number".to_owned()));
        assert_eq!(parse("--seeds x"), Err("--seeds needs a number, not 'x'".to_owned()));
        assert_eq!(parse("--sed"), Err("there is no argument '--sed'".to_owned()));
    }
    #[test]
    fn the_usage_names_every_mistake() {
        for canary in CANARIES {
            assert!(USAGE.contains(&canary.name.replace(' ', "-")), "{}", canary.name);
        }
    }
}
