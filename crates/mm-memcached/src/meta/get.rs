//! mg.

use mm_proto::memcached::Writer;
use mm_store::{Item, Miss, Mode, Outcome, Put, Sharing};

use super::{Asked, put_encoded, put_numbered, put_opaque, put_time_left};
use crate::clock::Time;
use crate::fetch::write_pieces;
use crate::limits::{COPY_MAX_BYTES, HEADER_MAX_BYTES};
use crate::service::{Call, Memcached};

/// Who fetches a new value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Win {
    /// Nobody needs to.
    None,
    /// This client.
    Here,
    /// Another one.
    Elsewhere,
}

/// What mg finds and does beside the item's own state.
struct Hit {
    /// The item was made because it was missing.
    created: bool,
    win: Win,
    shows_value: bool,
}

impl<S: Sharing> Memcached<S> {
    /// mg.
    #[inline]
    pub(super) fn meta_get(&mut self, asked: &Asked<'_>, call: &mut Call<'_>) {
        let Asked { key, options, .. } = *asked;
        let found = match options.has(b'u') {
            true => self.store.peek(key, call.time.now_s),
            false => self.store.get(key, call.time.now_s),
        };
        let miss = match found {
            Err(miss) => miss,
            Ok(item) => {
                let hit = hit(asked, &item, &call.time);
                write_whole_hit(asked, &item, &hit, call);
                self.after_hit(asked, &hit, &call.time);
                return self.observe_fetch(key, None);
            }
        };
        self.meta_missed(asked, miss, call);
    }

    /// The key of mg is not there.
    #[inline(never)]
    pub(crate) fn meta_missed(&mut self, asked: &Asked<'_>, miss: Miss, call: &mut Call<'_>) {
        let Asked { key, options, .. } = *asked;
        self.count_miss(miss);
        self.observe_fetch(key, Some(miss));
        if options.has(b'N') && self.vivify(asked, call) {
            return;
        }
        self.counters().get_misses.count();
        if !options.has(b'q') {
            let mut writer = Writer::new(call.output.spare(HEADER_MAX_BYTES));
            writer.put(b"EN");
            asked.put_echoes(&mut writer);
            writer.put(b"\r\n");
            let written = writer.len();
            call.output.commit(written);
        }
    }

    /// Does to the item, and counts, what follows from a hit.
    #[inline]
    fn after_hit(&mut self, asked: &Asked<'_>, hit: &Hit, time: &Time) {
        let Asked { key, options, .. } = *asked;
        if options.has(b'T') {
            self.counters().touch_hits.count();
            if !hit.created {
                // Where there is no memory to keep the new time, the old one holds.
                let _touched = self.store.touch(key, time.expiry_s(options.exptime), time.now_s);
            }
        } else {
            self.counters().get_hits.count();
        }
    }

    /// Makes an empty item, so that others wait for the client that gets it, and answers. Where another shard has been
    /// faster, the answer is of its item. False where there is no memory, and nothing was answered.
    #[cold]
    #[inline(never)]
    fn vivify(&mut self, asked: &Asked<'_>, call: &mut Call<'_>) -> bool {
        let Asked { key, meta, options } = *asked;
        let time = call.time;
        let mut exptime = options.vivify_exptime;
        for flag in meta.flags() {
            match flag.letter {
                b'T' => exptime = options.exptime,
                b'N' => exptime = options.vivify_exptime,
                _ => {}
            }
        }
        let put = Put {
            mode: Mode::Add,
            expiry_s: time.expiry_s(exptime),
            cas: options.has(b'E').then_some(options.new_cas),
            win_sent: true,
            ..Put::default()
        };
        self.store.ask_for_cas();
        let made = self.store.put(key, &put, &[], time.now_s);
        let cas = self.store.told_cas();
        let created = Hit { created: true, win: Win::Here, shows_value: options.has(b'v') };
        let hit = match (made, self.store.peek(key, time.now_s)) {
            (Ok(Outcome::Stored), Ok(item)) if Some(item.current_cas()) == cas => {
                write_hit(asked, &item, &created, call);
                created
            }
            (Ok(_), Ok(item)) => {
                let hit = hit(asked, &item, &time);
                write_hit(asked, &item, &hit, call);
                if hit.shows_value && item.value().is_none_or(|value| value.len() > COPY_MAX_BYTES) {
                    write_pieces(&item, call.output);
                    call.output.write(b"\r\n");
                }
                hit
            }
            // It was made with a time that is over, or is gone already.
            (Ok(Outcome::Stored), Err(_)) => {
                call.output.write(if created.shows_value { b"VA 0 W\r\n\r\n" } else { b"HD W\r\n" });
                created
            }
            _ => return false,
        };
        self.after_hit(asked, &hit, &time);
        true
    }
}

/// What the client gets of an item that was there.
#[inline(always)]
fn hit<S: Sharing>(asked: &Asked<'_>, item: &Item<'_, S>, time: &Time) -> Hit {
    let options = asked.options;
    let was_sent = item.is_win_sent();
    let is_wanted =
        !was_sent && (item.is_stale() || (options.has(b'R') && is_to_be_made_anew(asked, item, time)));
    let win = if is_wanted && item.take_win() {
        Win::Here
    } else if was_sent || is_wanted {
        Win::Elsewhere
    } else {
        Win::None
    };
    let shows_value = options.has(b'v') && !(options.has(b'C') && item.current_cas() == options.cas);
    Hit { created: false, win, shows_value }
}

/// Whether the item has less time left than the client gave, counted with a new time given before that.
fn is_to_be_made_anew<S: Sharing>(asked: &Asked<'_>, item: &Item<'_, S>, time: &Time) -> bool {
    let letters = asked.meta.flags().map(|flag| flag.letter);
    let touched = letters.take_while(|&letter| letter != b'R').any(|letter| letter == b'T');
    let expiry_s = if touched { time.expiry_s(asked.options.exptime) } else { item.expiry_s() };
    expiry_s != 0 && expiry_s < time.expiry_s(asked.options.recache_exptime)
}

/// Answers a hit whose request is for the value and nothing else, which is a copy, so that others need not have the
/// item in memory.
#[inline(never)]
pub(crate) fn answer_hit<S: Sharing>(asked: &Asked<'_>, item: Item<'_, S>, call: &mut Call<'_>) {
    let hit = hit(asked, &item, &call.time);
    write_whole_hit(asked, &item, &hit, call);
}

/// Writes a hit.
fn write_whole_hit<S: Sharing>(asked: &Asked<'_>, item: &Item<'_, S>, hit: &Hit, call: &mut Call<'_>) {
    write_hit(asked, item, hit, call);
    if hit.shows_value && item.value().is_none_or(|value| value.len() > COPY_MAX_BYTES) {
        write_pieces(item, call.output);
        call.output.write(b"\r\n");
    }
}

/// Writes the header of a hit, and its value where that is short and in one piece.
fn write_hit<S: Sharing>(asked: &Asked<'_>, item: &Item<'_, S>, hit: &Hit, call: &mut Call<'_>) {
    let copied = item.value().filter(|value| hit.shows_value && value.len() <= COPY_MAX_BYTES);
    let room = call.output.spare(HEADER_MAX_BYTES + copied.map_or(0, <[u8]>::len));
    let mut writer = Writer::new(room);
    if hit.shows_value {
        writer.put(b"VA ");
        writer.put_number(item.len() as u64);
    } else {
        writer.put(b"HD");
    }
    if asked.options.has_any(b"tscflhOk") {
        put_flags(asked, item, hit, &mut writer, &call.time);
    }
    if hit.win == Win::Elsewhere {
        writer.put(b" Z");
    }
    if item.is_stale() {
        writer.put(b" X");
    }
    if hit.win == Win::Here {
        writer.put(b" W");
    }
    writer.put(b"\r\n");
    if let Some(value) = copied {
        writer.put(value);
        writer.put(b"\r\n");
    }
    let written = writer.len();
    call.output.commit(written);
}

/// Writes what the flags ask for, in their order.
fn put_flags<S: Sharing>(
    asked: &Asked<'_>,
    item: &Item<'_, S>,
    hit: &Hit,
    writer: &mut Writer<'_>,
    time: &Time,
) {
    let mut expiry_s = if hit.created { 0 } else { item.expiry_s() };
    for flag in asked.meta.flags() {
        match flag.letter {
            b'T' => expiry_s = time.expiry_s(asked.options.exptime),
            b'N' if hit.created => expiry_s = time.expiry_s(asked.options.vivify_exptime),
            b't' => put_time_left(writer, expiry_s, time),
            b's' => put_numbered(writer, b's', item.len() as u64),
            b'c' => put_numbered(writer, b'c', item.cas()),
            b'f' => put_numbered(writer, b'f', u64::from(item.client_flags())),
            b'l' => put_numbered(writer, b'l', u64::from(time.now_s.saturating_sub(item.last_access_s()))),
            b'h' => put_numbered(writer, b'h', u64::from(item.was_fetched())),
            b'O' => put_opaque(writer, flag.argument),
            b'k' if item.is_binary_key() => put_key_encoded(writer, item.key()),
            b'k' => {
                writer.put(b" k");
                writer.put(item.key());
            }
            _ => {}
        }
    }
}

fn put_key_encoded(writer: &mut Writer<'_>, key: &[u8]) {
    writer.put(b" k");
    put_encoded(writer, key);
}
