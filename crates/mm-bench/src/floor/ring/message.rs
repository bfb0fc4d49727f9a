//! What is sent, and its description in the form in which the kernel reads it.

use std::ptr;

use crate::floor::answers::{Answers, PARTS_MAX};

/// An output and, where it has several parts, the message that names them.
pub(super) struct Outgoing {
    pub(super) answers: Answers,
    /// Made when it is needed first. It stays where it is while this is moved.
    message: Option<Box<Message>>,
}

/// A message and its parts.
struct Message {
    header: Header,
    parts: [Part; PARTS_MAX],
}

/// The kernel's `struct user_msghdr`.
#[repr(C)]
struct Header {
    name: *const u8,
    name_bytes: i32,
    parts: *const Part,
    count: usize,
    control: *const u8,
    control_bytes: usize,
    flags: u32,
}

/// The kernel's `struct iovec`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Part {
    start: *const u8,
    bytes: usize,
}

impl Outgoing {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self { answers: Answers::default(), message: None }
    }

    /// The message that names all parts, in order; it is valid until these answers change or the next call.
    pub(super) fn message<T>(&mut self, shared: &[u8]) -> *const T {
        let message = self.message.get_or_insert_with(|| Box::new(Message::new()));
        let mut count = 0;
        for part in self.answers.parts(shared).filter(|part| !part.is_empty()) {
            message.parts[count] = Part { start: part.as_ptr(), bytes: part.len() };
            count += 1;
        }
        (message.header.parts, message.header.count) = (message.parts.as_ptr(), count);
        ptr::from_ref(&message.header).cast()
    }
}

impl Message {
    /// One of no parts, without an address: it is for a connected socket.
    fn new() -> Self {
        let header = Header {
            name: ptr::null(),
            name_bytes: 0,
            parts: ptr::null(),
            count: 0,
            control: ptr::null(),
            control_bytes: 0,
            flags: 0,
        };
        Self { header, parts: [Part { start: ptr::null(), bytes: 0 }; PARTS_MAX] }
    }
}
