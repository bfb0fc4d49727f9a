//! Whether what clients saw at the same time can have happened one thing after the other.
//!
//! A *history* is a list of calls, each with the moments at which it began and ended, what was asked and what was
//! answered. It is linearizable if the calls can be put in an order in which each, done alone, gives its answer, and in
//! which a call that ended before another began comes first (Herlihy and Wing, 1990). [`check`] looks for such an
//! order by Wing and Gong's search (1993), and remembers, as Lowe ("Testing for linearizability", 2017) proposes, which
//! pairs of calls done and states reached it has met already, so that it tries none twice.
//!
//! What holds for every key holds for all, so a history is checked key by key. [`key`] is the model of one.

pub mod key;

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;

use crate::limits::{LINEAR_SHOWN, LINEAR_STEPS_MAX};

/// What one thing does when its calls come one by one.
pub trait Model {
    /// What is asked.
    type Op: fmt::Debug;
    /// What is answered.
    type Answer: fmt::Debug;
    /// What there is to know of it.
    type State: Clone + Eq + Hash + Ord + fmt::Debug;

    /// What it is at first.
    fn start(&self) -> Self::State;

    /// Adds to `next` everything that `state` may be after a call that gave this answer: nothing where it cannot give
    /// it, several where more than one thing may have happened.
    fn step(&self, state: &Self::State, op: &Self::Op, answer: &Self::Answer, next: &mut Vec<Self::State>);
}

/// A call and its answer.
#[derive(Clone, Debug)]
pub struct Call<O, A> {
    /// Who called.
    pub client: usize,
    /// A number that grows with time: when it began.
    pub begun: u64,
    /// When the answer was there. Of two calls one came before the other if its `ended` is below the other's `begun`.
    pub ended: u64,
    /// What was asked.
    pub op: O,
    /// What was answered.
    pub answer: A,
}

/// There is no order that explains the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The most calls that an order explains, and the states that they lead to.
    explained: usize,
    /// The last of them, in the order found.
    last: Vec<String>,
    states: String,
    /// The next calls of which one has no explanation.
    unexplained: Vec<String>,
    /// The search was given up: [`LINEAR_STEPS_MAX`].
    is_given_up: bool,
}

impl Violation {
    /// Whether no order was found because the search was given up: there may be one.
    #[must_use]
    pub const fn is_given_up(&self) -> bool {
        self.is_given_up
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_given_up {
            writeln!(f, "no order was found in {LINEAR_STEPS_MAX} steps")?;
        }
        writeln!(f, "{} calls are explained, in the end", self.explained)?;
        self.last.iter().try_for_each(|call| writeln!(f, "  {call}"))?;
        writeln!(f, "and lead to {}; but not", self.states)?;
        self.unexplained.iter().try_for_each(|call| writeln!(f, "  {call}"))
    }
}

impl std::error::Error for Violation {}

/// Looks for an order of the calls that explains all answers.
///
/// # Errors
/// There is none, or none was found within [`LINEAR_STEPS_MAX`] steps.
pub fn check<M: Model>(model: &M, history: &[Call<M::Op, M::Answer>]) -> Result<(), Violation> {
    Search::new(model, history).run()
}

/// A search.
struct Search<'a, M: Model> {
    model: &'a M,
    /// By when they began.
    calls: Vec<&'a Call<M::Op, M::Answer>>,
    events: Events,
    is_done: Vec<bool>,
    /// The calls done, in the order that is tried, each with the states before it.
    order: Vec<(usize, Vec<M::State>)>,
    /// What the store may be after them.
    states: Vec<M::State>,
    /// The numbers of the calls done, all added up: [`number`].
    done: u128,
    met: HashSet<(u128, Vec<M::State>)>,
    best: Best<M::State>,
}

/// As far as calls were explained.
struct Best<S> {
    explained: usize,
    last: Vec<usize>,
    states: Vec<S>,
    unexplained: Vec<usize>,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, history: &'a [Call<M::Op, M::Answer>]) -> Self {
        let mut calls: Vec<_> = history.iter().collect();
        calls.sort_by_key(|call| call.begun);
        let states = vec![model.start()];
        Self {
            model,
            events: Events::new(&calls),
            is_done: vec![false; calls.len()],
            order: Vec::new(),
            done: 0,
            met: HashSet::new(),
            best: Best { explained: 0, last: Vec::new(), states: states.clone(), unexplained: Vec::new() },
            states,
            calls,
        }
    }

    fn run(mut self) -> Result<(), Violation> {
        let mut at = self.events.first();
        for _ in 0..LINEAR_STEPS_MAX {
            let Some(event) = at else { return Ok(()) };
            let call = event / 2;
            if Events::is_begin(event) {
                at = if self.advance(call) { self.events.first() } else { self.events.next(event) };
                continue;
            }
            // This call ended before any that has yet to be tried began, so it must have come by now.
            self.note_best(call);
            let Some((last, states)) = self.order.pop() else { return Err(self.violation(false)) };
            self.is_done[last] = false;
            self.done = self.done.wrapping_sub(number(last));
            self.states = states;
            self.events.put_back(last);
            at = self.events.next(last * 2);
        }
        Err(self.violation(true))
    }

    /// Does a call next, if it can give its answer and leads to something that was not met before.
    fn advance(&mut self, call: usize) -> bool {
        let mut next = Vec::new();
        for state in &self.states {
            self.model.step(state, &self.calls[call].op, &self.calls[call].answer, &mut next);
        }
        next.sort_unstable();
        next.dedup();
        if next.is_empty() {
            return false;
        }
        let done = self.done.wrapping_add(number(call));
        if !self.met.insert((done, next.clone())) {
            return false;
        }
        self.done = done;
        self.is_done[call] = true;
        self.order.push((call, std::mem::replace(&mut self.states, next)));
        self.events.take_out(call);
        true
    }

    fn note_best(&mut self, stuck: usize) {
        if self.order.len() < self.best.explained {
            return;
        }
        let end = self.calls[stuck].ended;
        let candidates = (0..self.calls.len())
            .skip_while(|&call| self.is_done[call])
            .take_while(|&call| self.calls[call].begun <= end)
            .filter(|&call| !self.is_done[call]);
        let shown = self.order.len().saturating_sub(LINEAR_SHOWN);
        self.best = Best {
            explained: self.order.len(),
            last: self.order[shown..].iter().map(|(call, _)| *call).collect(),
            states: self.states.clone(),
            unexplained: candidates.take(LINEAR_SHOWN).collect(),
        };
    }

    fn violation(&self, is_given_up: bool) -> Violation {
        let shown = |calls: &[usize]| calls.iter().map(|&call| format!("{:?}", self.calls[call])).collect();
        Violation {
            explained: self.best.explained,
            last: shown(&self.best.last),
            states: format!("{:?}", self.best.states),
            unexplained: shown(&self.best.unexplained),
            is_given_up,
        }
    }
}

/// A number for each call, so large and so mixed that no two sets of calls of one history have the same sum.
fn number(call: usize) -> u128 {
    let half = |mut x: u64| {
        // The mixing function of splitmix64, which is one to one.
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    };
    let call = call as u64 + 1;
    let (low, high) = (call.wrapping_mul(0x9e37_79b9_7f4a_7c15), call.wrapping_mul(0xd1b5_4a32_d192_ed03));
    u128::from(half(low)) | u128::from(half(high)) << 64
}

/// Beginnings and ends of the calls that are not done, in the order of time, as a list. Event `2 * call` is the
/// beginning of a call, the next number its end.
struct Events {
    next: Vec<usize>,
    previous: Vec<usize>,
}

impl Events {
    /// `calls` are sorted by when they began.
    fn new<O, A>(calls: &[&Call<O, A>]) -> Self {
        let times = calls.iter().enumerate().flat_map(|(number, call)| {
            // A call that ends in the moment in which another begins is not before it.
            [((call.begun, false), 2 * number), ((call.ended, true), 2 * number + 1)]
        });
        let mut times: Vec<_> = times.collect();
        times.sort_unstable();
        let head = times.len();
        let mut events = Self { next: vec![head; head + 1], previous: vec![head; head + 1] };
        let mut last = head;
        for (_, event) in times {
            events.next[last] = event;
            events.previous[event] = last;
            last = event;
        }
        events.next[last] = head;
        events.previous[head] = last;
        events
    }

    const fn is_begin(event: usize) -> bool {
        event.is_multiple_of(2)
    }

    fn first(&self) -> Option<usize> {
        self.next(self.next.len() - 1)
    }

    fn next(&self, event: usize) -> Option<usize> {
        let next = self.next[event];
        (next != self.next.len() - 1).then_some(next)
    }

    fn take_out(&mut self, call: usize) {
        for event in [2 * call, 2 * call + 1] {
            let (previous, next) = (self.previous[event], self.next[event]);
            self.next[previous] = next;
            self.previous[next] = previous;
        }
    }

    /// Undoes the last [`Events::take_out`].
    fn put_back(&mut self, call: usize) {
        for event in [2 * call + 1, 2 * call] {
            let (previous, next) = (self.previous[event], self.next[event]);
            self.next[previous] = event;
            self.previous[next] = event;
        }
    }
}

#[cfg(test)]
mod tests;
