//! The output queue, against what plain concatenation would give.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::buffer::limits::{LARGE_BYTES, SMALL_BYTES};

/// A source with one long text, which counts what is pinned.
struct Source {
    text: Vec<u8>,
    unpinned: RefCell<Vec<u64>>,
}

impl Source {
    fn new(len: usize) -> Rc<Self> {
        let text = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
        Rc::new(Self { text, unpinned: RefCell::new(Vec::new()) })
    }
}

/// The first bytes of a source; notes when it is dropped.
struct Range {
    source: Rc<Source>,
    len: usize,
    number: u64,
}

impl AsRef<[u8]> for Range {
    fn as_ref(&self) -> &[u8] {
        &self.source.text[..self.len]
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        self.source.unpinned.borrow_mut().push(self.number);
    }
}

fn pinned(source: &Rc<Source>, number: u64, len: usize) -> Pinned {
    Pinned::shared(Rc::new(Range { source: Rc::clone(source), len, number }))
}

/// A few writes of all kinds, and the bytes they amount to.
fn mixed(output: &mut Output, source: &Rc<Source>) -> Vec<u8> {
    let mut expected = Vec::new();
    let mut write = |output: &mut Output, bytes: &[u8]| {
        output.write(bytes);
        expected.extend_from_slice(bytes);
    };
    write(output, b"first ");
    write(output, &vec![7; LARGE_BYTES + 100]);
    output.pin(pinned(source, 1, 5000));
    expected.extend_from_slice(&source.text[..5000]);
    output.pin(pinned(source, 2, 3));
    expected.extend_from_slice(&source.text[..3]);
    let spare = output.spare(SPARE_MAX);
    spare[..4].copy_from_slice(b"tail");
    output.commit(4);
    expected.extend_from_slice(b"tail");
    output.write(b" end");
    expected.extend_from_slice(b" end");
    expected
}

/// Sends `output` in steps of `step` bytes, as a socket that takes so many would.
fn send(output: &mut Output, step: usize, slices: usize) -> Vec<u8> {
    let mut sent = Vec::new();
    while !output.is_empty() {
        let mut gathered = vec![IoSlice::new(&[]); slices];
        let count = output.gather(&mut gathered);
        let before = sent.len();
        let offered: usize = gathered[..count].iter().map(|slice| slice.len()).sum();
        assert_eq!(offered, output.gathered_len(slices));
        sent.extend(gathered[..count].iter().flat_map(|slice| slice.iter().copied()).take(step));
        assert!(sent.len() > before, "a non-empty output offers nothing");
        output.advance(sent.len() - before);
    }
    sent
}

#[test]
fn bytes_come_out_in_order_however_they_are_sent() {
    for step in [1, 2, 3, 7, 1000, LARGE_BYTES, 1 << 20] {
        for slices in [1, 2, 3, 64] {
            let pool = Pool::new(1 << 20);
            let source = Source::new(5000);
            let mut output = Output::new(&pool, 100);
            let expected = mixed(&mut output, &source);
            assert_eq!(output.len(), expected.len());
            assert!(send(&mut output, step, slices) == expected, "step {step}, {slices} slices");
            assert_eq!(*source.unpinned.borrow(), [1, 2]);
            assert!(pool.used_bytes() <= LARGE_BYTES, "{} bytes kept", pool.used_bytes());
            output.clear();
            assert_eq!(pool.used_bytes(), 0);
        }
    }
}

#[test]
fn an_output_that_is_written_while_it_is_sent_keeps_the_order() {
    let pool = Pool::new(1 << 20);
    let source = Source::new(100);
    let mut output = Output::new(&pool, 1 << 20);
    let (mut expected, mut sent) = (Vec::new(), Vec::new());
    for round in 0..5000_usize {
        let bytes = vec![u8::try_from(round % 256).unwrap(); round % 97];
        output.write(&bytes);
        expected.extend_from_slice(&bytes);
        if round % 5 == 0 {
            let len = round % 100;
            output.pin(pinned(&source, 0, len));
            expected.extend_from_slice(&source.text[..len]);
        }
        let mut slices = [IoSlice::new(&[]); 3];
        let count = output.gather(&mut slices);
        let front: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
        let part = front.len().min(round % 61);
        sent.extend_from_slice(&front[..part]);
        output.advance(part);
    }
    output.drain_into(&mut sent);
    assert!(sent == expected);
    assert_eq!(pool.used_bytes(), LARGE_BYTES);
    assert_eq!(source.unpinned.borrow().len(), 1000);
}

#[test]
fn dropping_or_clearing_gives_everything_back() {
    let pool = Pool::new(1 << 20);
    let source = Source::new(5000);
    let mut output = Output::new(&pool, 100);
    mixed(&mut output, &source);
    output.clear();
    assert!(output.is_empty());
    assert_eq!((pool.used_bytes(), source.unpinned.borrow().len()), (0, 2));
    mixed(&mut output, &source);
    drop(output);
    assert_eq!((pool.used_bytes(), source.unpinned.borrow().len()), (0, 4));
}

#[test]
fn the_cap_is_a_mark_and_not_a_wall() {
    let pool = Pool::new(1 << 20);
    let mut output = Output::new(&pool, 10);
    output.write(b"123456789");
    assert!(!output.is_full());
    output.write(b"0123");
    assert!(output.is_full());
    output.advance(4);
    assert!(!output.is_full());
    assert_eq!(output.contiguous(), Some(&b"567890123"[..]));
}

#[test]
fn room_that_was_asked_for_and_not_used_is_forgotten() {
    let pool = Pool::new(1 << 20);
    let mut output = Output::new(&pool, 1 << 20);
    assert!(output.spare(10).len() >= 10);
    output.shrink();
    assert!(output.spare(SPARE_MAX).len() >= SPARE_MAX);
    output.write(&[1; LARGE_BYTES]);
    output.write(&[2; LARGE_BYTES]);
    let mut sent = Vec::new();
    output.drain_into(&mut sent);
    assert!(sent == [vec![1; LARGE_BYTES], vec![2; LARGE_BYTES]].concat());
    assert_eq!(pool.used_bytes(), LARGE_BYTES);
}

#[test]
fn what_is_laid_aside_counts_as_unused_until_it_is_taken_up() {
    let pool = Pool::new(1 << 20);
    let source = Source::new(5000);
    let mut output = Output::new(&pool, 100);
    for _ in 0..3 {
        output.take_up();
        let expected = mixed(&mut output, &source);
        assert!(send(&mut output, 1 << 20, 64) == expected);
        // Twice is as good as once.
        output.lay_aside();
        output.lay_aside();
        assert_eq!(pool.used_bytes(), 0);
    }
    output.take_up();
    output.take_up();
    assert_eq!(pool.used_bytes(), LARGE_BYTES);
    output.write(b"unsent");
    output.lay_aside();
    assert_eq!((output.len(), pool.used_bytes()), (0, 0));
    drop(output);
    assert_eq!(pool.used_bytes(), 0);
    // One that has never been written to has nothing to lay aside.
    let mut output = Output::new(&pool, 100);
    output.lay_aside();
    output.take_up();
    assert_eq!(pool.used_bytes(), 0);
}

#[test]
fn a_short_rest_moves_to_a_small_buffer() {
    let pool = Pool::new(1 << 20);
    let mut output = Output::new(&pool, 1 << 20);
    output.write(&[b'a'; LARGE_BYTES - 3]);
    output.write(b"xyz");
    output.shrink();
    assert_eq!(pool.used_bytes(), LARGE_BYTES);
    output.advance(LARGE_BYTES - 3);
    output.shrink();
    assert_eq!(pool.used_bytes(), SMALL_BYTES);
    output.write(b"!");
    assert_eq!(output.contiguous(), Some(&b"xyz!"[..]));
}

#[test]
fn a_part_is_gathered_where_the_whole_is() {
    let pool = Pool::new(1 << 20);
    let mut output = Output::new(&pool, 1 << 20);
    output.write(b"head");
    let source = Source::new(14);
    output.pin(pinned(&source, 1, 14));
    output.write(b"tail");
    let gathered = |output: &Output, bytes| {
        let mut slices = [IoSlice::new(&[]); 4];
        let count = output.gather_some(&mut slices, bytes);
        assert!(slices[..count].iter().all(|slice| !slice.is_empty()), "no slice is wasted");
        slices[..count].iter().flat_map(|slice| slice.to_vec()).collect::<Vec<u8>>()
    };
    let whole = [b"head", &source.text[..], b"tail"].concat();
    assert_eq!(gathered(&output, usize::MAX), whole);
    for bytes in 0..=whole.len() + 1 {
        assert_eq!(gathered(&output, bytes), whole[..bytes.min(whole.len())]);
    }
}
