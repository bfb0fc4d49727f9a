//! Waiting for several futures within one task.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use crate::net::share::gives_way;
use crate::task::raw::is_held;

/// One of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first.
    Left(A),
    /// The second.
    Right(B),
}

/// Waits for the one that is ready first and drops the other; the left one wins a tie.
pub async fn select<A: Future, B: Future>(left: A, right: B) -> Either<A::Output, B::Output> {
    let (mut left, mut right) = (pin!(left), pin!(right));
    let mut gave_way = false;
    std::future::poll_fn(move |context| {
        if let Poll::Ready(output) = left.as_mut().poll(context) {
            return Poll::Ready(Either::Left(output));
        }
        // The left one may be ready and have let others go on first: then it is asked once more before the right one.
        if gives_way(context, &mut gave_way) {
            return Poll::Pending;
        }
        right.as_mut().poll(context).map(Either::Right)
    })
    .await
}

/// Waits for both.
pub async fn join<A: Future, B: Future>(left: A, right: B) -> (A::Output, B::Output) {
    let (mut left, mut right) = (pin!(left), pin!(right));
    let (mut one, mut other) = (None, None);
    std::future::poll_fn(move |context| {
        poll_into(left.as_mut(), &mut one, context);
        poll_into(right.as_mut(), &mut other, context);
        match (one.take(), other.take()) {
            (Some(left), Some(right)) => Poll::Ready((left, right)),
            (left, right) => {
                (one, other) = (left, right);
                Poll::Pending
            }
        }
    })
    .await
}

/// Waits for both, or until one has failed; then the other is dropped.
///
/// # Errors
/// That of the one that failed first.
pub async fn try_join<A, B, E>(
    left: impl Future<Output = Result<A, E>>,
    right: impl Future<Output = Result<B, E>>,
) -> Result<(A, B), E> {
    let (mut left, mut right) = (pin!(left), pin!(right));
    let (mut one, mut other) = (None, None);
    std::future::poll_fn(move |context| {
        poll_into(left.as_mut(), &mut one, context);
        // As above: the right one's failure would drop what the left one is about to write.
        if one.is_none() && is_held(context.waker()) {
            return Poll::Pending;
        }
        poll_into(right.as_mut(), &mut other, context);
        match (one.take(), other.take()) {
            (Some(Err(error)), _) | (_, Some(Err(error))) => Poll::Ready(Err(error)),
            (Some(Ok(left)), Some(Ok(right))) => Poll::Ready(Ok((left, right))),
            (left, right) => {
                (one, other) = (left, right);
                Poll::Pending
            }
        }
    })
    .await
}

/// Waits for all; the outputs come in the order of the futures. Each wake polls all that are not ready: for many, spawn
/// tasks instead.
pub async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(move |context| {
        for (future, output) in &mut waiting {
            poll_into(future.as_mut(), output, context);
        }
        if waiting.iter().all(|(_, output)| output.is_some()) {
            Poll::Ready(waiting.drain(..).filter_map(|(_, output)| output).collect())
        } else {
            Poll::Pending
        }
    })
    .await
}

/// Polls a future that has not given its output yet.
fn poll_into<F: Future>(future: Pin<&mut F>, output: &mut Option<F::Output>, context: &mut Context<'_>) {
    if output.is_none()
        && let Poll::Ready(ready) = future.poll(context)
    {
        *output = Some(ready);
    }
}
