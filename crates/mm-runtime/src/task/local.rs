//! Data of a task's own, dropped when the task ends.

use std::any::Any;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::raw;
use crate::limits::LOCALS_PER_TASK_MAX;

/// A slot that every task has for itself:
///
/// ```
/// use mm_runtime::task::TaskLocal;
/// static REQUEST: TaskLocal<u64> = TaskLocal::new();
/// assert!(REQUEST.get().is_none(), "outside tasks there is nothing");
/// ```
///
/// The value is dropped, its destructor included, on the task's shard when the task ends, however it ends.
#[derive(Debug)]
pub struct TaskLocal<T> {
    /// 0 until first used.
    key: AtomicUsize,
    value: PhantomData<fn(T) -> T>,
}

impl<T: 'static> Default for TaskLocal<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: 'static> TaskLocal<T> {
    /// A slot that is empty in every task.
    #[must_use]
    pub const fn new() -> Self {
        Self { key: AtomicUsize::new(0), value: PhantomData }
    }

    /// Puts a value in and gives the one before.
    ///
    /// # Errors
    /// The value comes back outside tasks, when the task has [`LOCALS_PER_TASK_MAX`] slots in use, and when it is
    /// ending: in the destructors of the values of its slots.
    pub fn set(&self, value: T) -> Result<Option<Rc<T>>, T> {
        let key = self.key();
        raw::with_task(|task| {
            let Some(task) = task else { return Err(value) };
            let own = &mut *task.extra().own.borrow_mut();
            if own.ended {
                return Err(value);
            }
            let locals = &mut own.locals;
            if let Some((_, place)) = locals.iter_mut().find(|(known, _)| *known == key) {
                let old = std::mem::replace(place, Rc::new(value) as Rc<dyn Any>);
                return Ok(old.downcast().ok());
            }
            if locals.len() >= LOCALS_PER_TASK_MAX {
                return Err(value);
            }
            locals.push((key, Rc::new(value)));
            Ok(None)
        })
    }

    /// The present task's value.
    #[must_use]
    pub fn get(&self) -> Option<Rc<T>> {
        let key = self.key();
        raw::with_task(|task| {
            let own = task?.known_extra()?.own.borrow();
            let (_, value) = own.locals.iter().find(|(known, _)| *known == key)?;
            Rc::clone(value).downcast().ok()
        })
    }

    /// Takes the present task's value out.
    pub fn take(&self) -> Option<Rc<T>> {
        let key = self.key();
        raw::with_task(|task| {
            let locals = &mut task?.known_extra()?.own.borrow_mut().locals;
            let index = locals.iter().position(|(known, _)| *known == key)?;
            locals.remove(index).1.downcast().ok()
        })
    }

    fn key(&self) -> usize {
        static KEYS: AtomicUsize = AtomicUsize::new(1);
        let key = self.key.load(Ordering::Relaxed);
        if key != 0 {
            return key;
        }
        let fresh = KEYS.fetch_add(1, Ordering::Relaxed);
        match self.key.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => fresh,
            Err(known) => known,
        }
    }
}
