//! Buffers, timer wheel, mailboxes, hashing and scanning shared by every layer.
