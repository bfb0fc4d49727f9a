//! Timers fire at their millisecond and in order; a model checks any sequence of calls.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn due(wheel: &mut TimerWheel<u32>, now_ms: u64) -> Vec<u32> {
    let mut budget = u32::MAX;
    std::iter::from_fn(|| wheel.pop_due(now_ms, &mut budget)).collect()
}

#[test]
fn a_timer_fires_at_its_millisecond_and_not_before() {
    for deadline_ms in [1, 63, 64, 65, 4_095, 4_096, 300_000, 1 << 36, DEADLINE_MS_MAX] {
        let mut wheel = TimerWheel::new(0, 8);
        wheel.insert(deadline_ms, 7).unwrap();
        assert_eq!(due(&mut wheel, deadline_ms - 1), [], "{deadline_ms}");
        assert_eq!(due(&mut wheel, deadline_ms), [7], "{deadline_ms}");
        assert!(wheel.is_empty());
    }
}

#[test]
fn a_passed_deadline_is_due_at_once() {
    let mut wheel = TimerWheel::new(1_000, 8);
    wheel.insert(10, 1).unwrap();
    assert_eq!(wheel.next_deadline_ms(), Some(1_000));
    assert_eq!(due(&mut wheel, 1_000), [1]);
}

#[test]
fn a_deadline_beyond_the_wheel_is_moved_to_its_end() {
    let mut wheel = TimerWheel::new(0, 8);
    wheel.insert(u64::MAX, 1).unwrap();
    assert_eq!(due(&mut wheel, DEADLINE_MS_MAX - 1), []);
    assert_eq!(due(&mut wheel, u64::MAX), [1]);
}

#[test]
fn a_jump_fires_in_the_order_of_deadlines() {
    let mut wheel = TimerWheel::new(5, 8);
    for (deadline_ms, value) in [(70_000, 4), (9, 1), (9, 2), (500, 3)] {
        wheel.insert(deadline_ms, value).unwrap();
    }
    assert_eq!(due(&mut wheel, 100_000), [1, 2, 3, 4]);
}

#[test]
fn a_timer_moved_later_fires_once_at_the_later_time() {
    let mut wheel = TimerWheel::new(0, 8);
    let id = wheel.insert(10, 1).unwrap();
    assert!(wheel.rearm(id, 100));
    assert_eq!(due(&mut wheel, 99), []);
    assert_eq!(due(&mut wheel, 100), [1]);
    assert_eq!(due(&mut wheel, 1_000), []);
}

#[test]
fn a_timer_moved_earlier_fires_once_at_the_earlier_time() {
    let mut wheel = TimerWheel::new(0, 8);
    let id = wheel.insert(100_000, 1).unwrap();
    assert!(wheel.rearm(id, 5_000));
    assert!(wheel.rearm(id, 70));
    assert_eq!(wheel.next_deadline_ms(), Some(70));
    assert_eq!(due(&mut wheel, 69), []);
    assert_eq!(due(&mut wheel, 70), [1]);
    assert_eq!(due(&mut wheel, 200_000), []);
}

#[test]
fn a_timer_moved_earlier_and_later_again_fires_at_the_last_time() {
    let mut wheel = TimerWheel::new(0, 8);
    let id = wheel.insert(1_000, 1).unwrap();
    assert!(wheel.rearm(id, 10));
    assert!(wheel.rearm(id, 500));
    assert_eq!(due(&mut wheel, 499), []);
    assert_eq!(due(&mut wheel, 500), [1]);
}

#[test]
fn timers_that_were_moved_earlier_can_be_cancelled_in_any_order() {
    for cancelled in 0..3 {
        let mut wheel = TimerWheel::new(0, 8);
        let ids: Vec<_> = (0..3).map(|value| wheel.insert(9_000, value).unwrap()).collect();
        assert!(ids.iter().all(|&id| wheel.rearm(id, 20)));
        assert_eq!(wheel.cancel(ids[cancelled as usize]), Some(cancelled));
        assert_eq!(due(&mut wheel, 19), []);
        let mut fired = due(&mut wheel, 20);
        fired.sort_unstable();
        assert_eq!(fired, (0..3).filter(|&value| value != cancelled).collect::<Vec<_>>());
        assert_eq!(wheel.next_deadline_ms(), None);
    }
}

#[test]
fn many_moves_cost_one_step() {
    let mut wheel = TimerWheel::new(0, 8);
    let id = wheel.insert(1_000, 1).unwrap();
    for deadline_ms in (40..1_000).rev() {
        assert!(wheel.rearm(id, deadline_ms));
    }
    assert_eq!(wheel.pop_due(40, &mut 1), None);
    assert_eq!(wheel.pop_due(40, &mut 1), Some(1));
}

#[test]
fn a_stale_id_names_nothing() {
    let mut wheel = TimerWheel::new(0, 8);
    let old = wheel.insert(10, 1).unwrap();
    assert_eq!(wheel.cancel(old), Some(1));
    let new = wheel.insert(20, 2).unwrap();
    assert_eq!(wheel.cancel(old), None);
    assert!(!wheel.rearm(old, 5));
    assert_eq!(wheel.get_mut(new), Some(&mut 2));
}

#[test]
fn the_limit_gives_the_value_back() {
    let mut wheel = TimerWheel::new(0, 1);
    let id = wheel.insert(10, 1).unwrap();
    assert_eq!(wheel.insert(10, 2), Err(2));
    wheel.cancel(id);
    assert!(wheel.insert(10, 3).is_ok());
}

#[test]
fn the_budget_bounds_a_step_and_loses_nothing() {
    let mut wheel = TimerWheel::new(0, 10_000);
    for value in 0..10_000 {
        wheel.insert(100_000, value).unwrap();
    }
    let mut fired = Vec::new();
    let mut steps = 0;
    while !wheel.is_empty() {
        let mut budget = 64;
        fired.extend(std::iter::from_fn(|| wheel.pop_due(100_000, &mut budget)));
        assert_eq!(wheel.next_deadline_ms().is_some(), !wheel.is_empty());
        steps += 1;
    }
    assert_eq!(fired, (0..10_000).collect::<Vec<_>>());
    assert!(steps <= 10_000 * STEPS_PER_TIMER_MAX / 64 + 1, "{steps} steps");
}

#[derive(Clone, Debug)]
enum Operation {
    Insert { after_ms: u64 },
    Rearm { which: usize, after_ms: u64 },
    Cancel { which: usize },
    Advance { by_ms: u64, budget: u32 },
}

fn operation() -> impl Strategy<Value = Operation> {
    let after_ms = prop_oneof![0..70_u64, 0..5_000_u64, 0..1_000_000_u64, Just(u64::MAX / 2)];
    prop_oneof![
        3 => after_ms.clone().prop_map(|after_ms| Operation::Insert { after_ms }),
        3 => (any::<usize>(), after_ms).prop_map(|(which, after_ms)| Operation::Rearm { which, after_ms }),
        1 => any::<usize>().prop_map(|which| Operation::Cancel { which }),
        4 => (prop_oneof![0..3_u64, 0..100_u64, 0..300_000_u64], prop_oneof![0..4_u32, Just(u32::MAX)])
            .prop_map(|(by_ms, budget)| Operation::Advance { by_ms, budget }),
    ]
}

/// The wheel beside a sorted map of deadlines.
struct Pair {
    wheel: TimerWheel<u32>,
    model: BTreeMap<u32, u64>,
    ids: Vec<(u32, TimerId)>,
    now_ms: u64,
    named: u32,
}

impl Pair {
    fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Insert { after_ms } => {
                let deadline_ms = (self.now_ms + after_ms).min(DEADLINE_MS_MAX);
                self.ids.push((self.named, self.wheel.insert(deadline_ms, self.named).unwrap()));
                self.model.insert(self.named, deadline_ms);
                self.named += 1;
            }
            Operation::Rearm { which, after_ms } if !self.ids.is_empty() => {
                let (name, id) = self.ids[which % self.ids.len()];
                let deadline_ms = (self.now_ms + after_ms).min(DEADLINE_MS_MAX);
                let armed = self.model.get_mut(&name).map(|at_ms| *at_ms = deadline_ms).is_some();
                assert_eq!(self.wheel.rearm(id, deadline_ms), armed);
            }
            Operation::Cancel { which } if !self.ids.is_empty() => {
                let (name, id) = self.ids[which % self.ids.len()];
                assert_eq!(self.wheel.cancel(id), self.model.remove(&name).map(|_| name));
            }
            Operation::Advance { by_ms, budget } => self.advance(by_ms, budget),
            Operation::Rearm { .. } | Operation::Cancel { .. } => {}
        }
        assert_eq!(self.wheel.len(), self.model.len());
        let earliest_ms = self.model.values().min().copied();
        assert_eq!(self.wheel.next_deadline_ms().is_some(), earliest_ms.is_some());
        assert!(self.wheel.next_deadline_ms() <= earliest_ms.map(|at_ms| at_ms.max(self.now_ms)));
    }

    fn advance(&mut self, by_ms: u64, budget: u32) {
        self.now_ms += by_ms;
        let mut left = budget;
        let mut last_ms = 0;
        while let Some(name) = self.wheel.pop_due(self.now_ms, &mut left) {
            let deadline_ms = self.model.remove(&name).expect("fires once");
            assert!(deadline_ms <= self.now_ms, "{name} fired early");
            if budget == u32::MAX {
                assert!(deadline_ms >= last_ms, "{name} fired out of order");
                last_ms = deadline_ms;
            }
        }
        if left > 0 {
            assert!(self.model.values().all(|&at_ms| at_ms > self.now_ms), "a timer is late");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 512 }, ..ProptestConfig::default() })]
    #[test]
    fn the_wheel_does_as_a_sorted_map(
        start_ms in prop_oneof![Just(0_u64), 0..1_u64 << 40],
        operations in prop::collection::vec(operation(), 1..200),
    ) {
        let mut pair = Pair {
            wheel: TimerWheel::new(start_ms, 1_000),
            model: BTreeMap::new(),
            ids: Vec::new(),
            now_ms: start_ms,
            named: 0,
        };
        for operation in &operations {
            pair.apply(operation);
        }
    }
}
