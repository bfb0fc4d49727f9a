//! Steps put together.

use mm_server::Step;

/// `step`, with `more` bytes done with before it.
pub(crate) fn after(more: usize, step: Step) -> Step {
    match step {
        Step::Read { consumed } => Step::Read { consumed: more + consumed },
        Step::Yield { consumed } => Step::Yield { consumed: more + consumed },
        Step::ReadInto { consumed } => Step::ReadInto { consumed: more + consumed },
        Step::Park { consumed } => Step::Park { consumed: more + consumed },
        Step::Close { consumed } => Step::Close { consumed: more + consumed },
    }
}
