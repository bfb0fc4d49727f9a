//! Queues of objects threaded through one array: every object is in at most one of them.

/// No object.
pub(crate) const NONE: u32 = u32::MAX;

/// Links of every object; the ends are in [`Queue`].
#[derive(Debug)]
pub(crate) struct Links {
    links: Vec<Link>,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    newer: u32,
    older: u32,
}

/// The two ends of a queue, and the bytes in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queue {
    newest: u32,
    oldest: u32,
    /// The sum of what was added with [`Links::push`], in the caller's unit.
    pub(crate) bytes: u64,
}

impl Queue {
    pub(crate) const fn new() -> Self {
        Self { newest: NONE, oldest: NONE, bytes: 0 }
    }

    /// The object that has been in longest, [`NONE`] when empty.
    pub(crate) const fn oldest(&self) -> u32 {
        self.oldest
    }
}

impl Links {
    pub(crate) fn new(objects: u32) -> Self {
        Self { links: vec![Link { newer: NONE, older: NONE }; objects as usize] }
    }

    /// Adds at the new end.
    pub(crate) fn push(&mut self, queue: &mut Queue, object: u32, bytes: u64) {
        self.links[object as usize] = Link { newer: NONE, older: queue.newest };
        match queue.newest {
            NONE => queue.oldest = object,
            newest => self.links[newest as usize].newer = object,
        }
        queue.newest = object;
        queue.bytes += bytes;
    }

    /// Takes out an object that is in this queue.
    pub(crate) fn remove(&mut self, queue: &mut Queue, object: u32, bytes: u64) {
        let Link { newer, older } = self.links[object as usize];
        match newer {
            NONE => queue.newest = older,
            newer => self.links[newer as usize].older = older,
        }
        match older {
            NONE => queue.oldest = newer,
            older => self.links[older as usize].newer = newer,
        }
        queue.bytes -= bytes;
    }

    /// Moves an object of this queue to its new end.
    pub(crate) fn renew(&mut self, queue: &mut Queue, object: u32) {
        self.remove(queue, object, 0);
        self.push(queue, object, 0);
    }

    /// The neighbour on the new side, [`NONE`] at the end.
    pub(crate) fn newer(&self, object: u32) -> u32 {
        self.links[object as usize].newer
    }
}
