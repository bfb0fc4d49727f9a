//! Bounds of the store, each with its reason.

/// Longest key in bytes: memcached's limit, and what the length byte of an item can say besides its special values.
pub const KEY_MAX_BYTES: usize = 250;

/// Smallest memory limit in bytes: below it segments would be too few for eviction to choose from.
pub const MIN_LIMIT_BYTES: usize = 1 << 20;

/// A store whose limit is at least [`RESERVE_FROM_BYTES`] takes this many times as much address space, so that its
/// limit can be raised. The book-keeping for it costs 0.5 percent of the smallest such limit.
pub(crate) const RESERVE_FACTOR: usize = 4;

/// See [`RESERVE_FACTOR`].
pub(crate) const RESERVE_FROM_BYTES: usize = 64 << 20;

/// A limit cannot be lowered to fewer segments than these.
pub(crate) const MIN_SEGMENTS: usize = 32;

/// Size of a huge page on every platform that we ask for one.
pub(crate) const HUGE_PAGE_BYTES: usize = 2 << 20;

/// From this limit on huge pages are asked for. The last one of each region may be used in part only, which is
/// below five percent of this.
pub(crate) const HUGE_PAGES_FROM_BYTES: usize = 128 << 20;

/// The limit is cut into about this many segments.
pub(crate) const SEGMENTS_PER_LIMIT: usize = 512;

/// Smallest segment in bytes.
pub(crate) const MIN_SEGMENT_BYTES: usize = 16 << 10;

/// Largest segment in bytes: a huge page.
pub(crate) const MAX_SEGMENT_BYTES: usize = HUGE_PAGE_BYTES;

/// An item record takes at most this share of a segment; what is longer goes on in extents. It bounds what is lost at
/// the end of a segment.
pub(crate) const RECORDS_PER_SEGMENT: usize = 8;

/// Longest value inside an item record: its length has two bytes.
pub(crate) const INLINE_MAX_BYTES: usize = 65_535;

/// Smallest extent in bytes: a shorter rest of a segment is left empty.
pub(crate) const MIN_EXTENT_BYTES: usize = 1 << 10;

/// How often an append copies a long value that others change meanwhile, before it keeps them from it.
pub(crate) const JOIN_TRIES: usize = 4;

/// How often it tries altogether. What others store in turn of other lengths and flags is never as long as was planned.
pub(crate) const JOIN_TRIES_MAX: usize = 1_000;

/// Smallest number of buckets: a page of them.
pub(crate) const MIN_BUCKETS: usize = 64;

/// Counters of moves in the index: readers of one tag look at one of them, and seldom at one that others change.
pub(crate) const MOVE_COUNTERS: usize = if cfg!(loom) { 2 } else { 1024 };

/// How often a writer that needs memory which others may be reading lets them have its processor before it is refused.
/// Whoever asks `Store::must_wait` first hardly ever comes to that.
pub(crate) const YIELDS_MAX: usize = 1000;

/// A shard of several sums up how many items there are once in as many writes as this part of the items, and at
/// [`WRITES_PER_COUNT`] at the latest.
pub(crate) const COUNT_SHARE: usize = 1024;

/// See [`COUNT_SHARE`].
pub(crate) const WRITES_PER_COUNT: usize = 32;

/// The index grows above this load, in percent of its slots, and by this part of them.
pub(crate) const INDEX_GROW_LOAD: usize = 91;

/// See [`INDEX_GROW_LOAD`]: the load is then above that at which the index shrinks, by what deletes can take away until
/// the growth is over.
pub(crate) const INDEX_GROW_SHARE: usize = 7;

/// Above this load nothing is added, in percent of the slots that a shrink will leave or a growth has come to: one that
/// begins later might find no slots for what is there.
pub(crate) const INDEX_MOST_LOAD: usize = 92;

/// The index shrinks below this load, in percent of its slots.
pub(crate) const INDEX_SHRINK_LOAD: usize = 78;

/// It is not to be below this load, in percent of its slots, while it shrinks.
pub(crate) const INDEX_LEAST_LOAD: usize = 75;

/// The load that the index shrinks to, in percent of its slots, in steps of a quarter at most.
pub(crate) const INDEX_SHRUNK_LOAD: usize = 85;

/// An index that waits for memory to grow gives up waiting below this load, in percent of its slots. Above it, in
/// percent of the slots that will be left, each insertion of several shards' helps a shrink.
pub(crate) const INDEX_ROOM_LOAD: usize = 88;

/// How often the bucket that a resize has come to is tried again when its items find no slots, before they are
/// given up.
pub(crate) const STUCK_MAX: u32 = 10_000;

/// Buckets that an insertion waits for when there is no slot for a new item, or there will soon be none, whoever moves
/// them; [`BUCKETS_PER_WRITE`] for each shard where that is more.
pub(crate) const HELP_BUCKETS: usize = 64;

/// As much memory is made meanwhile, where a growth waits for some, as beside a write of so many bytes.
pub(crate) const HELP_BYTES: usize = 1 << 10;

/// How often it does so before it gives up, where meanwhile none was moved.
pub(crate) const SLOT_TRIES_MAX: u32 = 10_000;

/// The same where a growth waits for memory, and nothing may be evicted: what is garbage is hardly ever so far away.
pub(crate) const MEMORY_TRIES_MAX: u32 = 16;

/// The same where something may be evicted: the new item takes the place of another one, for the memory may be far
/// away. And where there is no memory that could be waited for.
pub(crate) const SHORT_TRIES_MAX: u32 = 2;

/// Cache lines of a table whose memory is given back at once: a huge page, so that it takes some tens of microseconds.
pub(crate) const DISCARD_STEP_LINES: usize = (2 << 20) / 64;

/// Buckets of the index that a write moves while the index is resized: a growth makes room faster than writes take it,
/// and a shrink is over before they fill what it leaves.
pub(crate) const BUCKETS_PER_WRITE: usize = 4;

/// The same for each item that a call removes: while a shrink goes over all buckets, the load falls by 1 in nine times
/// as many.
pub(crate) const BUCKETS_PER_REMOVAL: usize = 6;

/// What that is at most in one step: 80 us at 0.4 us for each (`examples/steps.rs`). The rest is left to the calls
/// after it, as far as the resize goes on for so long.
pub(crate) const BUCKETS_FOR_REMOVALS_MAX: usize = 200;

/// Steps of one call, one for each [`STEP_OWN_BYTES`] that it stores, or of each extent that it fills, at most: those
/// of the longest value that a server stores whole.
pub(crate) const STEPS_MAX: usize = 16;

/// So many bytes take the places of thirty items of the smallest. While a call has left buckets to be moved, values
/// come in pieces of no more.
pub(crate) const STEP_OWN_BYTES: usize = 1 << 10;

/// A piece of a value takes the place of no more than this part of the items.
pub(crate) const PIECE_SHARE: usize = 512;

/// How often in a row it looks whether another shard has done its step, each time for some tens of nanoseconds.
pub(crate) const MOVE_TRIES: usize = 64;

/// Records that a step of the index's growth or shrink counts as: [`BUCKETS_PER_WRITE`] buckets of them.
pub(crate) const RECORDS_PER_RESIZE_STEP: usize = 9 * BUCKETS_PER_WRITE;

/// How often a shard chooses a segment to empty before it gives up because others choose the same ones.
pub(crate) const VICTIM_TRIES: usize = 8;

/// Sealed and other segments that are looked at for the next one to empty: more would take a write some tens of
/// microseconds. Of a larger store the next ones are looked at the next time.
pub(crate) const VICTIM_WINDOW: usize = 1024;

/// Of segments of which each would do, one of so many is chosen.
pub(crate) const VICTIM_CANDIDATES: usize = 64;

/// The index is not looked at again before the number of items has changed by this part of it.
pub(crate) const FITTING_SHARE: usize = 512;

/// Segments that each shard keeps free for the survivors of an eviction.
pub(crate) const RESERVE_SEGMENTS: usize = 2;

/// A store has no more shards than this part of its segments: each has one at least that only it appends to, and others
/// are to be left to empty.
pub(crate) const SHARD_SEGMENTS: usize = 2;

/// Of so many segments for each shard [`RESERVE_SEGMENTS`] are kept free for it and as many open. Where there are
/// fewer, the reserve is one in so many of all.
pub(crate) const ROOMY_SEGMENTS: usize = 8;

/// Records whose index buckets are brought near together while a segment is emptied.
pub(crate) const EVICTION_BATCH: usize = 8;

/// A segment whose live bytes are below this share is compacted before anything is evicted (measured: decision 0022).
pub(crate) const COMPACT_LIVE_PERCENT: usize = 88;

/// What that is at most in sixteenths of a segment.
pub(crate) const COMPACT_WEIGHT: u64 = 14;

/// The same while not more bytes were copied so than written.
pub(crate) const COMPACT_CREDIT_LIVE_PERCENT: usize = 95;

/// The same while there is a bar: copying has to give room soon.
pub(crate) const LATE_LIVE_PERCENT: usize = 50;

/// The same for segments of a queue that were opened before this part of the time since its oldest one was: their turn
/// is near, and what is copied to the queue's end would have another round that it was not read for.
pub(crate) const TURN_NEAR_LIVE_PERCENT: usize = 50;

/// See [`TURN_NEAR_LIVE_PERCENT`].
pub(crate) const TURN_NEAR_SHARE: u64 = 2;

/// [`TURN_NEAR_LIVE_PERCENT`] holds while garbage is no more than this part of what segments are filled with: beyond it
/// holes cost more items than another round does (measured: decision 0002).
pub(crate) const TOLERATED_GARBAGE_SHARE: usize = 16;

/// At this height of the bar nothing stays.
pub(crate) const BAR_MAX: u64 = 3;

/// What a segment without live records is worth compacting, at the age of one.
pub(crate) const GAIN_UNIT: usize = 1 << 10;

/// The small queue's share of the segments (decision 0002: 3 to 10 percent do equally well).
pub(crate) const SMALL_QUEUE_PERCENT: usize = 10;

/// Reads that an item of mean size needs to go from the small queue to the main one.
pub(crate) const STAY_AFTER_SMALL: u64 = 2;

/// Reads that an item of mean size needs to stay in the main queue for another round.
pub(crate) const STAY_IN_MAIN: u64 = 1;

/// An item of this part of the mean size goes to the main queue unread, and counts there as read once, one of this part
/// of that as read twice (measured: decision 0002).
pub(crate) const SMALL_ITEM_SHARE: u64 = 4;

/// Shares of the latest events are counted in parts of this.
pub(crate) const SHARE_UNIT: u32 = 1 << 20;

/// So many items that leave the small queue make up the share of those that are read or come back.
pub(crate) const TIDE_WEIGHT: u32 = 512;

/// Below this share some of the others are let into the main queue (measured: decision 0002).
pub(crate) const TIDE_LOW: u32 = SHARE_UNIT / 64;

/// So many items of the main queue make up the share of those that stay.
pub(crate) const MAIN_WEIGHT: u32 = 64;

/// One in so many unread items is let into the main queue while most of its own are not read either.
pub(crate) const LUCKY_ONE_IN: u32 = 2;

/// That becomes half as many each time when all of the main queue went unread, so often at most.
pub(crate) const LUCKY_RARER_MAX: u32 = 9;

/// The same while most of the main queue's are read.
pub(crate) const LUCKY_ONE_IN_WHILE_READ: u32 = 1024;

/// A key that comes back goes to the main queue if that took at most so many times as long as items stay there: one
/// that is read stays for more than one turn.
pub(crate) const TOLERATED_STAYS: u64 = 2;

/// After the turns of so many items that came back it is judged whether those let in are the right ones.
pub(crate) const RETURNED_TRIED: u32 = 64;

/// If fewer of them were read in main, half the time is tolerated (measured: decision 0002).
pub(crate) const RETURNED_READ_LEAST: u32 = 33;

/// If so many were, twice the time, up to [`TOLERATED_STAYS`].
pub(crate) const RETURNED_READ_ENOUGH: u32 = 38;

/// How often it is halved at most: what is left is about the age that ghosts cannot tell from none.
pub(crate) const TOLERANCE_HALVINGS_MAX: u32 = 6;

/// A segment of which no more sixteenths live is emptied and used again rather than fresh memory.
pub(crate) const REUSE_WEIGHT: u64 = 1;

/// Bytes of such a segment that are looked at for each byte written: it is free before the next one is full.
pub(crate) const REUSE_PACE: usize = 2;

/// Memory that is populated ahead is at most this part of the limit.
pub(crate) const AHEAD_SHARE: usize = 128;

/// It is at most so many segments.
pub(crate) const AHEAD_SEGMENTS_MAX: usize = 16;

/// It is at most this part of the memory in use: little memory is touched for little that is stored.
pub(crate) const AHEAD_USED_SHARE: usize = 4;

/// What an upload has beside its value at most: its key, and the head and options of its record.
pub(crate) const UPLOAD_HEAD_BYTES: usize = KEY_MAX_BYTES + 64;

/// Room for a large value is made ahead with no more than this part of the segments.
pub(crate) const AHEAD_VALUE_SHARE: usize = 32;

/// With this many segments to spare or more, writes look again after a quarter of them.
pub(crate) const PACE_SEGMENTS_MAX: usize = 8;

/// Bytes of segments that a write looks at for each of its own, at most.
pub(crate) const PACE_MAX: usize = 16;

/// Bytes that may be copied for holes alone before as many are written, in segments.
pub(crate) const COPY_CREDIT_SEGMENTS: usize = 4;

/// Records that one write looks at in the segment being evicted, at least.
pub(crate) const EVICTION_STEP_RECORDS: usize = 8;

/// Bytes of records that are enough for one batch, and of an extent that are copied at once; the work after which a few
/// records are enough.
pub(crate) const EVICTION_STEP_BYTES: usize = 64 << 10;

/// What deciding on a record costs, and removing or moving it, beside the bytes that are copied: so many bytes can be
/// copied in the time (1.3 us, at 5 bytes a ns; `examples/steps.rs`).
pub(crate) const WORK_PER_RECORD_BYTES: usize = 7 << 10;

/// The same for a record that is only looked at: 50 ns.
pub(crate) const WORK_PER_LOOK_BYTES: usize = 256;

/// The same for a segment that is looked at for one to empty: 20 ns.
pub(crate) const WORK_PER_SEGMENT_BYTES: usize = 100;

/// The most that a write does of this, but for one batch of records more: 50 us. The rest is left to the writes after
/// it.
pub(crate) const WORK_MAX_BYTES: usize = 256 << 10;

/// A write of many bytes does so many times as much as it copies itself.
pub(crate) const WORK_PER_OWN_BYTE: usize = 4;

/// Emptying segments for an upload may cost so many bytes copied for each of its own before more than usual is asked of
/// items (measured: decision 0002).
pub(crate) const GRACE_PER_OWN_BYTE: usize = 16;

/// Of that, what one call may cost that has few bytes of its own: 100 us.
pub(crate) const GRACE_MAX_BYTES: usize = 512 << 10;

/// Bytes of segments that a write looks at for each of its own, whatever that costs, where only the reserve is left:
/// nothing less makes the room that it took.
pub(crate) const LATE_PACE: usize = 2;

/// Stores with fewer segments than these have one open segment per queue, instead of one for each group of times to
/// live: open segments are half empty.
pub(crate) const TTL_GROUPS_FROM_SEGMENTS: usize = 256;

/// A store with fewer segments for each shard than these has no open segments of their own for copied records.
pub(crate) const GENERATIONS_FROM_SEGMENTS: usize = 128;

/// A segment is searched as soon as this part of it may have expired.
pub(crate) const SWEEP_SHARE: usize = 128;

/// Records that the search for the last few expired items looks at in a second; where there are more, they wait longer.
pub(crate) const SWEEP_RECORDS_PER_S: usize = 1 << 17;

/// What removing an expired item counts as among records looked at.
pub(crate) const RECORDS_PER_RECLAIM: usize = 8;

/// Records that a write looks at before it evicts, while items may have expired.
pub(crate) const EXPIRE_FIRST_RECORDS: usize = 32;

/// Background work empties segments of expired items while these hold more than this part of the limit.
pub(crate) const EXPIRED_SHARE: usize = 27;

/// Evicted items that are kept for those who watch, between two looks.
pub(crate) const EVICTED_MAX: usize = 1024;
