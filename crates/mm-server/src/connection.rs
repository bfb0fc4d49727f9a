//! The part of a connection that needs no socket: what it waits for, and the input of a request that was cut.
//!
//! The server and the [harness](crate::harness) both drive services through it, so that what is tested
//! without sockets is what runs with them.

mod carry;

use mm_base::Now;
use mm_base::buffer::{Output, Pool};
use mm_base::mark;

use crate::limits::{IDLE_RUNS_MAX, INPUT_BYTES_MAX};
use crate::{Service, Step};
use carry::Carry;

/// What a connection needs before it can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Bytes from the peer.
    Input,
    /// Bytes from the peer, in the service's space.
    Space,
    /// Room in the output, or, where there is, just another turn.
    Drain,
    /// A wake.
    Wake,
    /// To be closed when the output has been sent.
    Close,
    /// To be closed at once: the input bound was exceeded, or the service makes no progress.
    Fault,
}

/// A connection's state between two runs.
pub(crate) struct Machine<C> {
    state: C,
    /// Input that the service has seen but not consumed.
    carry: Option<Carry>,
    want: Want,
    /// The service has closed the connection before the end of its input.
    leftover: bool,
    /// The last run did more than look at a request that was not whole.
    served: bool,
    /// It has come with input that nobody has looked at since.
    has_come: bool,
}

impl<C> Machine<C> {
    pub(crate) fn new(state: C) -> Self {
        Self { state, carry: None, want: Want::Input, leftover: false, served: false, has_come: false }
    }

    /// What the last run left the connection waiting for.
    pub(crate) fn want(&self) -> Want {
        self.want
    }

    /// Whether the service has closed the connection before the end of its input.
    pub(crate) fn has_leftover(&self) -> bool {
        self.leftover
    }

    /// Whether the last run did more than look at a request that was not whole.
    pub(crate) fn has_served(&self) -> bool {
        self.served
    }

    /// A connection that was served before and has this input left.
    pub(crate) fn resumed(state: C, input: &[u8], pool: &Pool) -> Self {
        let input = &input[..input.len().min(INPUT_BYTES_MAX)];
        let carry = (!input.is_empty()).then(|| Carry::new(pool, input));
        // With input of which there may be a whole request.
        let want = if carry.is_some() { Want::Drain } else { Want::Input };
        Self { state, carry, want, leftover: false, served: false, has_come: true }
    }

    /// The service's state.
    pub(crate) fn state(&self) -> &C {
        &self.state
    }

    /// The part of the input that has been kept.
    pub(crate) fn kept_input(&self) -> &[u8] {
        self.carry.as_ref().map_or(&[], Carry::bytes)
    }

    /// The service's state, at the end.
    pub(crate) fn into_state(self) -> C {
        self.state
    }

    /// Whether a part of the input has been kept, so that more of it must be received behind that part.
    pub(crate) fn has_carry(&self) -> bool {
        self.carry.is_some()
    }

    /// Where to receive the bytes that follow the kept ones. Empty when the bound is reached.
    pub(crate) fn carry_room(&mut self, pool: &Pool) -> &mut [u8] {
        self.carry.get_or_insert_with(|| Carry::new(pool, &[])).room(pool)
    }

    /// `bytes` bytes have been received into the room.
    pub(crate) fn carry_received(&mut self, bytes: usize) {
        if let Some(carry) = &mut self.carry {
            carry.extend(bytes);
        }
    }

    /// Moves what is kept into as little memory as it needs, since it is going to be kept for a while.
    #[inline]
    pub(crate) fn settle(&mut self, pool: &Pool) {
        if self.carry.is_some() {
            self.settle_carry(pool);
        }
    }

    fn settle_carry(&mut self, pool: &Pool) {
        if self.carry.as_ref().is_some_and(|carry| carry.bytes().is_empty()) {
            self.carry = None;
        }
        if let Some(carry) = &mut self.carry {
            carry.shrink(pool);
        }
    }

    /// Shows the service the input that it will get: the kept bytes, or `fresh` where none are kept. `false`: it wants
    /// to be shown no more.
    pub(crate) fn prepare<S>(&mut self, service: &mut S, fresh: &[u8], pass: u8) -> bool
    where
        S: Service<Connection = C>,
    {
        if self.want != Want::Input {
            return true;
        }
        let input = self.carry.as_ref().map_or(fresh, Carry::bytes);
        service.prepare(&mut self.state, input, pass)
    }

    /// Where the next bytes go while the connection wants [`Want::Space`].
    pub(crate) fn space<'a, S>(&'a mut self, service: &'a mut S) -> &'a mut [u8]
    where
        S: Service<Connection = C>,
    {
        service.space(&mut self.state)
    }

    /// `bytes` bytes have been received into the space.
    pub(crate) fn filled<S>(&mut self, service: &mut S, bytes: usize)
    where
        S: Service<Connection = C>,
    {
        service.filled(&mut self.state, bytes);
    }

    /// Runs the service until it needs something. Its input is the kept bytes, or `fresh` where none are kept
    /// (one of the two must be empty); what it does not consume of either is kept.
    pub(crate) fn run<S>(
        &mut self,
        service: &mut S,
        fresh: &[u8],
        output: &mut Output,
        context: &Context<'_>,
    ) -> Want
    where
        S: Service<Connection = C>,
    {
        debug_assert!(fresh.is_empty() || self.carry.is_none(), "fresh input beside kept input");
        if matches!(self.want, Want::Close | Want::Fault) {
            return self.want;
        }
        // One that has come is run to see whether there is a request.
        let wanted = if std::mem::take(&mut self.has_come) { Want::Input } else { self.want };
        let consumed;
        if let Some(mut carry) = self.carry.take() {
            consumed = self.drive(service, carry.bytes(), output, context.now);
            carry.consume(consumed);
            if !carry.bytes().is_empty() {
                self.leftover = self.want == Want::Close;
                self.carry = Some(carry);
            }
        } else {
            consumed = self.drive(service, fresh, output, context.now);
            let rest = &fresh[consumed..];
            self.leftover = self.want == Want::Close && !rest.is_empty();
            if !rest.is_empty() && !matches!(self.want, Want::Close | Want::Fault) {
                mark!("request cut");
                self.carry = Some(Carry::new(context.pool, rest));
            }
        }
        self.served = consumed > 0 || wanted != Want::Input || self.want != Want::Input;
        if self.want == Want::Input && self.carry.as_ref().is_some_and(Carry::is_full) {
            self.want = Want::Fault;
        }
        self.want
    }

    /// The loop of [`run`](Machine::run). Returns how much of `input` is done with.
    fn drive<S>(&mut self, service: &mut S, input: &[u8], output: &mut Output, now: Now) -> usize
    where
        S: Service<Connection = C>,
    {
        debug_assert!(input.len() <= INPUT_BYTES_MAX, "{} bytes of input", input.len());
        let mut at = 0;
        let mut idle_runs = 0;
        loop {
            let before = (at, output.len());
            if self.want == Want::Space {
                at += self.fill(service, &input[at..]);
                if self.want == Want::Space {
                    return at;
                }
            }
            if output.is_full() {
                self.want = Want::Drain;
                return at;
            }
            let step = service.run(&mut self.state, &input[at..], output, now);
            let (Step::Read { consumed }
            | Step::ReadInto { consumed }
            | Step::Park { consumed }
            | Step::Yield { consumed }
            | Step::Close { consumed }) = step;
            debug_assert!(consumed <= input.len() - at, "consumed {consumed} of {}", input.len() - at);
            at = input.len().min(at + consumed);
            self.want = match step {
                Step::Read { .. } if output.is_full() => {
                    mark!("service stopped at the output's cap");
                    Want::Drain
                }
                Step::Read { .. } => Want::Input,
                // As one whose output has drained: there is input to go on with.
                Step::Yield { .. } => Want::Drain,
                Step::ReadInto { .. } => Want::Space,
                Step::Park { .. } => Want::Wake,
                Step::Close { .. } => Want::Close,
            };
            if self.want != Want::Space {
                return at;
            }
            idle_runs = if (at, output.len()) == before { idle_runs + 1 } else { 0 };
            if idle_runs > IDLE_RUNS_MAX {
                self.want = Want::Fault;
                return at;
            }
        }
    }

    /// Copies input into the service's space until one of them is used up; in the latter case the service is
    /// to be run.
    fn fill<S>(&mut self, service: &mut S, mut input: &[u8]) -> usize
    where
        S: Service<Connection = C>,
    {
        let mut copied = 0;
        loop {
            let space = service.space(&mut self.state);
            if space.is_empty() {
                self.want = Want::Input;
                return copied;
            }
            if input.is_empty() {
                return copied;
            }
            let part = space.len().min(input.len());
            space[..part].copy_from_slice(&input[..part]);
            service.filled(&mut self.state, part);
            input = &input[part..];
            copied += part;
        }
    }
}

/// What a run needs of its surroundings.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) now: Now,
}
