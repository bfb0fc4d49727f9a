//! A client: connects, asks, reads, pauses, breaks off, comes again.

use mm_base::choice::Choices;
use mm_runtime::driver::Received;
use mm_runtime::driver::sim::PeerId;
use mm_server::simulation::Simulation;
use mm_store::Sharing;

use crate::checked::Checked;
use crate::history::History;
use crate::limits::{LOOKS_MAX, STALL_MS};
use crate::op::What;
use crate::plan::{Manners, REFUSAL, Work};
use crate::requests::{Requests, Surroundings};
use crate::stream::Stream;
use crate::world::World;

/// How connections of a run have ended, counted over all clients.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ends {
    /// Connections made.
    pub(crate) connected: u64,
    /// In good order: after everything was answered, or as the client wanted.
    pub(crate) good: u64,
    /// By a reset of the client's.
    pub(crate) own_resets: u64,
    /// By a reset that the client did not make.
    pub(crate) resets: u64,
    /// By the server, while the client had not finished.
    pub(crate) closed: u64,
    /// Of these, while an answer that had been given was not received whole.
    pub(crate) cut: u64,
    /// Refused, with the text for it.
    pub(crate) refused: u64,
    /// Half-closes: the client had finished sending and went on reading.
    pub(crate) half_closes: u64,
    /// Writes that the network took only in part, because it was full.
    pub(crate) full: u64,
    /// Long pauses.
    pub(crate) pauses: u64,
}

impl Ends {
    /// Those that no client wanted: one that is told why it is refused did not want that either.
    pub(crate) fn unwanted(&self) -> u64 {
        self.closed + self.resets + self.refused
    }
}

/// One client.
pub(crate) struct Client {
    open: Option<Open>,
    /// Nothing is done before this time.
    due_ms: u64,
    /// There is nothing to do before something comes or goes.
    waits: bool,
    reads_slowly: bool,
}

/// A connection of a client.
struct Open {
    peer: PeerId,
    port: usize,
    finished: bool,
    /// A quit has been asked for.
    quit: bool,
    /// It is told what happens, and asks nothing more.
    watches: bool,
    /// How often it has looked what it is told.
    looks: u32,
    /// Bytes of the text for refused connections that have been received.
    refusal: usize,
    /// Since when the server could have done something and has not.
    idle_since_ms: Option<u64>,
}

/// What a server has left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Each shard has connection memory.
    pub(crate) memory: bool,
    /// It may serve one more connection.
    pub(crate) place: bool,
    /// It could accept when it last tried.
    pub(crate) descriptors: bool,
}

/// What a client acts on and with.
pub(crate) struct Stage<'a, S: Sharing> {
    pub(crate) simulation: &'a Simulation<Checked<S>>,
    pub(crate) world: &'a mut World,
    pub(crate) requests: &'a mut Requests,
    pub(crate) choices: &'a mut Choices,
    pub(crate) ends: &'a mut Ends,
    pub(crate) manners: &'a Manners,
    pub(crate) work: &'a Work,
    /// Nothing new is to be asked: what is under way is to be brought to its end.
    pub(crate) ending: bool,
}

impl Client {
    pub(crate) fn new(manners: &Manners, choices: &mut Choices) -> Self {
        Self { open: None, due_ms: 0, waits: false, reads_slowly: choices.one_in(manners.slow_readers) }
    }

    /// When it wants to act, if that does not depend on the server.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        (!self.waits).then_some(self.due_ms)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Does the next thing.
    pub(crate) fn act<S: Sharing>(&mut self, stage: &mut Stage<'_, S>) {
        let now_ms = stage.simulation.network().now().monotonic_ms;
        if now_ms < self.due_ms {
            return;
        }
        if self.open.is_none() {
            if !stage.ending {
                self.connect(stage);
            }
            return;
        }
        self.waits = true;
        self.read(stage);
        self.write(stage);
        if !self.waits || stage.ending {
            // Whoever only waits is patient, or else a slow server would see nothing but clients that have left.
            self.misbehave(stage);
        }
        let watches = self.open.as_ref().is_some_and(|open| open.watches);
        if watches && !stage.ending {
            self.watch(stage);
            return;
        }
        let manners = stage.manners;
        self.due_ms = now_ms + stage.choices.between(0, manners.think_ms_max);
        if !stage.ending && stage.choices.one_in(manners.long_pauses) {
            stage.ends.pauses += 1;
            self.due_ms += stage.choices.between(100, 6000);
        }
    }

    /// Whoever watches looks from time to time, and ends it some day.
    fn watch<S: Sharing>(&mut self, stage: &mut Stage<'_, S>) {
        self.waits = false;
        self.due_ms = stage.simulation.network().now().monotonic_ms + stage.choices.between(1, 300);
        let Some(open) = &mut self.open else { return };
        open.looks += 1;
        if (stage.choices.one_in(20) || open.looks > LOOKS_MAX)
            && stage.world.stream(open.port).is_some_and(|stream| stream.unwritten().is_empty())
        {
            stage.simulation.network().finish(open.peer);
            open.finished = true;
        }
    }

    fn connect<S: Sharing>(&mut self, stage: &mut Stage<'_, S>) {
        let peer = stage.simulation.connect();
        let port = stage.world.open(peer.address());
        stage.ends.connected += 1;
        if let Some(stream) = stage.world.stream(port) {
            stream.is_binary = stage.choices.one_in(stage.work.binary);
        }
        self.open = Some(Open {
            peer,
            port,
            finished: false,
            quit: false,
            watches: false,
            looks: 0,
            refusal: 0,
            idle_since_ms: None,
        });
    }

    /// Receives, and sees to it that it is what the server has answered.
    fn read<S: Sharing>(&mut self, stage: &mut Stage<'_, S>) {
        let Some(open) = &mut self.open else { return };
        if self.reads_slowly && !stage.ending && !stage.choices.one_in(8) {
            self.waits = false;
            return;
        }
        let bytes =
            if stage.ending { usize::MAX } else { 1 + stage.choices.index(stage.manners.read_bytes_max) };
        match stage.simulation.network().read(open.peer, bytes) {
            Ok(Received::Bytes(bytes)) => {
                self.waits = false;
                open.idle_since_ms = None;
                stage.world.note([open.port as u64, 1 << 32], &bytes);
                stage.world.passed += bytes.len() as u64;
                if let Err(wrong) = open.receive(&bytes, stage.world) {
                    stage.world.fail(format!("connection {}: {wrong}", open.port));
                }
            }
            Ok(Received::Blocked) => {}
            Ok(Received::End) => self.end(stage),
            Err(_) => self.broken(stage),
        }
    }

    /// The server has finished sending.
    fn end<S: Sharing>(&mut self, stage: &mut Stage<'_, S>) {
        let Some(open) = self.open.take() else { return };
        self.waits = false;
        stage.simulation.network().release(open.peer);
        let Some(stream) = stage.world.stream(open.port) else { return };
        let has_answers = stream.has_answers();
        if stream.quit && !has_answers || stream.is_settled() && open.finished {
            stage.ends.good += 1;
        } else if open.refusal > 0 {
            stage.ends.refused += 1;
        } else {
            stage.ends.closed += 1;
            stage.ends.cut += u64::from(has_answers);
        }
        stage.world.abandon(open.port);
    }

    /// The connection was reset.
    fn broken<S: Sharing>(&mut self, stage: &mut Stage<'_, S>) {
        let Some(open) = self.open.take() else { return };
        self.waits = false;
        stage.simulation.network().release(open.peer);
        let quit = stage.world.stream(open.port).is_some_and(|stream| stream.quit);
        stage.world.abandon(open.port);
        // After a quit the server drops what is behind it, and resets where something is.
        if quit {
            stage.ends.good += 1;
        } else if open.refusal > 0 {
            stage.ends.refused += 1;
        } else {
            stage.ends.resets += 1;
        }
    }

    /// Asks for more, if not too much is under way, and sends.
    fn write<S: Sharing>(&mut self, stage: &mut Stage<'_, S>) {
        let Some(open) = &mut self.open else { return };
        let moment = stage.world.client_moment(stage.simulation.network().now());
        for (key, cas) in stage.world.model.told.drain(..) {
            stage.requests.saw_cas(key, cas);
        }
        while !stage.ending && open.may_ask(stage) {
            let keys = std::mem::take(&mut stage.world.fixed.keys);
            let begun = stage.world.history.as_mut().map_or(0, History::tick);
            if let Some(stream) = stage.world.stream(open.port) {
                stream.moment = begun;
                let mut around = Surroundings { keys: &keys, moment, stream };
                stage.requests.make(stage.choices, &mut around);
                let last = stream.ops.back().map(|op| &op.what);
                open.quit |= matches!(last, Some(What::Quit));
                open.watches |= matches!(last, Some(What::Watch));
            }
            stage.world.fixed.keys = keys;
            if stage.choices.one_in(3) {
                break;
            }
        }
        let max =
            if stage.ending { usize::MAX } else { 1 + stage.choices.index(stage.manners.write_bytes_max) };
        let Some(stream) = stage.world.stream(open.port) else { return };
        let unwritten = stream.unwritten();
        let part = unwritten.len().min(max);
        if part == 0 || open.finished {
            return;
        }
        // A reset shows when it is read.
        let taken = stage.simulation.network().write(open.peer, &unwritten[..part]).unwrap_or(0);
        stream.wrote(taken);
        self.waits &= taken == 0;
        stage.ends.full += u64::from(taken < part);
    }

    /// Breaks the connection off, or ends it, now and then.
    fn misbehave<S: Sharing>(&mut self, stage: &mut Stage<'_, S>) {
        let Some(open) = &mut self.open else { return };
        let network = stage.simulation.network();
        if !stage.ending && stage.choices.one_in(stage.manners.resets) {
            network.reset(open.peer);
            network.release(open.peer);
            stage.world.abandon(open.port);
            stage.ends.own_resets += 1;
            self.open = None;
            self.waits = false;
            return;
        }
        let Some(stream) = stage.world.stream(open.port) else { return };
        let wants = stage.ending || stage.choices.one_in(stage.manners.finishes);
        if wants && !open.finished && stream.unwritten().is_empty() {
            network.finish(open.peer);
            open.finished = true;
            self.waits = false;
            stage.ends.half_closes += u64::from(!stream.is_settled());
        }
    }

    /// Whether the server sleeps although there is something for it to do on this connection.
    pub(crate) fn check_stall<S: Sharing>(
        &mut self,
        simulation: &Simulation<Checked<S>>,
        world: &mut World,
        room: Room,
    ) {
        let Some(open) = &mut self.open else { return };
        let now_ms = simulation.network().now().monotonic_ms;
        let Some(progress) = simulation.network().progress(open.peer) else { return };
        let Some(stream) = world.stream(open.port) else { return };
        let received_all = progress.unread == 0 && progress.under_way == 0;
        let has_work = if stream.was_served() {
            room.memory && (progress.unreceived > 0 || stream.has_answers())
        } else {
            room.place && (progress.accepted || room.descriptors)
        };
        let is_stalled = !progress.closed && !progress.reset && received_all && has_work;
        if !is_stalled {
            open.idle_since_ms = None;
            return;
        }
        let since = *open.idle_since_ms.get_or_insert(now_ms);
        if now_ms - since > STALL_MS {
            let (served, answers) = (stream.was_served(), stream.answers_len());
            world.fail(format!(
                "connection {}: the server slept from {since} to {now_ms} ms over it ({progress:?}, served: {served}, \
                 {answers} bytes of answers)",
                open.port
            ));
        }
    }

    /// What it waits for, for messages.
    pub(crate) fn shown<S: Sharing>(
        &self,
        simulation: &Simulation<Checked<S>>,
        world: &mut World,
    ) -> Option<String> {
        let open = self.open.as_ref()?;
        let progress = simulation.network().progress(open.peer);
        let stream = world.stream(open.port)?;
        Some(format!(
            "connection {}: {progress:?}, served: {}, finished: {}, {} requests under way, {} bytes to write, {} to \
             receive",
            open.port,
            stream.was_served(),
            open.finished,
            stream.ops.len(),
            stream.unwritten().len(),
            stream.answers_len()
        ))
    }

    /// Time has passed without the server's being able to do anything: stalls are counted from now.
    pub(crate) fn forgive_stall(&mut self) {
        if let Some(open) = &mut self.open {
            open.idle_since_ms = None;
        }
    }
}

impl Open {
    fn may_ask<S: Sharing>(&self, stage: &mut Stage<'_, S>) -> bool {
        let depth_max = stage.work.depth_max;
        let Some(stream) = stage.world.stream(self.port) else { return false };
        !self.quit
            && !self.watches
            && !self.finished
            && stream.ops.len() < depth_max
            && stream.unwritten().len() < 64 * 1024
    }

    fn receive(&mut self, bytes: &[u8], world: &mut World) -> Result<(), String> {
        let Some(stream) = world.stream(self.port) else { return Ok(()) };
        if !stream.was_served() {
            let due = &REFUSAL[self.refusal..];
            self.refusal += bytes.len();
            return if due.starts_with(bytes) { Ok(()) } else { Err("not the refusal".to_owned()) };
        }
        stream.receive(bytes)?;
        while let Some(call) = world.stream(self.port).and_then(Stream::next_received) {
            if let Some(history) = &mut world.history {
                history.received(call);
            }
        }
        Ok(())
    }
}
