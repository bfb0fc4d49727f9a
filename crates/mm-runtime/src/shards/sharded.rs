//! A value on every shard.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{SubmitError, current};
use crate::limits::SHARDED_MAX;
use crate::task::raw;

/// A value of which every shard has its own, made where it is first wanted and dropped there when its shard ends. Each
/// is touched by its shard's tasks alone, so it needs no lock; the others have work done on it by [`on`](Self::on).
/// Clones are the same.
///
/// ```
/// use std::cell::Cell;
/// use mm_runtime::shards::{Sharded, meet};
///
/// mm_runtime::block_on(async {
///     let shards = meet(1).remove(0).join();
///     let visits = Sharded::new(|| Cell::new(0));
///     visits.on(shards.index(), |visits| async move { visits.set(visits.get() + 1) }).await?;
///     assert_eq!(visits.local()?.get(), 1);
///     std::io::Result::Ok(())
/// })
/// .unwrap()
/// .unwrap();
/// ```
pub struct Sharded<T> {
    number: usize,
    make: Arc<dyn Fn() -> T + Send + Sync>,
}

impl<T> Clone for Sharded<T> {
    fn clone(&self) -> Self {
        Self { number: self.number, make: Arc::clone(&self.make) }
    }
}

impl<T> fmt::Debug for Sharded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharded").field("number", &self.number).finish_non_exhaustive()
    }
}

impl<T: 'static> Sharded<T> {
    /// A value that `make` makes on each shard that wants it.
    #[must_use]
    pub fn new(make: impl Fn() -> T + Send + Sync + 'static) -> Self {
        static NUMBERS: AtomicUsize = AtomicUsize::new(0);
        Self { number: NUMBERS.fetch_add(1, Ordering::Relaxed), make: Arc::new(make) }
    }

    /// The present shard's value.
    ///
    /// # Errors
    /// This is no shard, or the process has made more than [`SHARDED_MAX`] sharded things in its life.
    pub fn local(&self) -> io::Result<Rc<T>> {
        if self.number >= SHARDED_MAX {
            return Err(io::Error::other("the process has made too many sharded things"));
        }
        raw::with_current(|local| {
            let local =
                local.ok_or_else(|| io::Error::other("there are no sharded things outside a shard"))?;
            let known = local.sharded.borrow().get(self.number).cloned().flatten();
            if let Some(value) = known.and_then(|value| value.downcast().ok()) {
                return Ok(value);
            }
            // Made while the table is free: it may look at others.
            let value: Rc<T> = Rc::new((self.make)());
            let mut table = local.sharded.borrow_mut();
            if table.len() <= self.number {
                table.resize_with(self.number + 1, || None);
            }
            table[self.number] = Some(Rc::clone(&value) as Rc<dyn Any>);
            Ok(value)
        })
    }

    /// Has `work` done with the value of a shard, as a task of that shard, and waits for the result. When the wait is
    /// given up, the work goes on and its result is dropped: see [`Shards::submit_to`](super::Shards::submit_to), also
    /// for what must not be lost.
    ///
    /// # Errors
    /// As there; [`SubmitError::Gone`] too where the present shard has met no others.
    pub async fn on<R, W, F>(&self, shard: usize, work: W) -> Result<R, SubmitError>
    where
        R: Send + 'static,
        W: FnOnce(Rc<T>) -> F + Send + 'static,
        F: Future<Output = R> + 'static,
    {
        let shards = current().ok_or(SubmitError::Gone)?;
        let this = self.clone();
        let work = move || async move {
            match this.local() {
                Ok(value) => Some(work(value).await),
                Err(_) => None,
            }
        };
        shards.submit_to(shard, work).await?.ok_or(SubmitError::Failed)
    }

    /// Has `work` done with the value of every shard, the present one included, begun on all before it waits for any.
    /// The results come in the order of the shards.
    ///
    /// # Errors
    /// The first shard's that failed; the others have had the work all the same.
    pub async fn on_all<R, W, F>(&self, work: W) -> Result<Vec<R>, SubmitError>
    where
        R: Send + 'static,
        W: FnOnce(Rc<T>) -> F + Clone + Send + 'static,
        F: Future<Output = R> + 'static,
    {
        let count = current().ok_or(SubmitError::Gone)?.count();
        let all = (0..count).map(|shard| self.on(shard, work.clone()));
        crate::sync::join_all(all).await.into_iter().collect()
    }
}
