//! mg.

use mm_proto::memcached::Writer;
use mm_store::{Item, Miss, Mode, Notes, Outcome, Put, PutError, Sharing};

use super::{Asked, is_key_encoded, put_encoded, put_numbered, put_opaque, put_time_left};
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

/// What was noted of an item when it was touched.
#[derive(Clone, Copy)]
struct Touched {
    /// When it was to expire before.
    before_s: u32,
    /// Whether this client is to fetch a new value.
    wins: bool,
}

/// What mg finds and does beside the item's own state.
struct Hit {
    win: Win,
    shows_value: bool,
    /// When the item was to expire before this request.
    expiry_s: u32,
    /// Its CAS value, where that is asked for.
    cas: u64,
}

impl<S: Sharing> Memcached<S> {
    /// mg.
    #[inline]
    pub(crate) fn meta_get(&mut self, asked: &Asked<'_>, call: &mut Call<'_>) {
        while !self.try_meta_get(asked, call) {
            // Another shard has made the item, or changed it while it was read.
        }
    }

    #[inline]
    fn try_meta_get(&mut self, asked: &Asked<'_>, call: &mut Call<'_>) -> bool {
        let Asked { key, options, .. } = *asked;
        let (touches, is_peek, now_s) = (options.has(b'T'), options.has(b'u'), call.time.now_s);
        let found = match (is_peek, touches) {
            (true, false) => self.store.peek(key, now_s).map(|item| (item, None)),
            (_, true) => {
                let (time, expiry_s) = (call.time, call.time.expiry_s(options.exptime));
                let notes = |item: &Item<'_, S>, before_s: u32| Notes {
                    cas: options.has(b'c'),
                    win: is_to_fetch(asked, item, before_s, &time),
                };
                let touched = match is_peek {
                    true => self.store.peek_touching_noting(key, expiry_s, now_s, notes),
                    false => self.store.get_touching_noting(key, expiry_s, now_s, notes),
                };
                touched.map(|(item, before_s, wins)| (item, Some(Touched { before_s, wins })))
            }
            (false, false) => self.store.get(key, now_s).map(|item| (item, None)),
        };
        let miss = match found {
            Err(miss) => miss,
            Ok((item, touched)) => {
                let Some(hit) = hit(asked, &item, touched, &call.time) else { return false };
                write_whole_hit(asked, &item, &hit, call);
                self.count_hit(asked);
                self.observe_fetch(&key, None);
                return true;
            }
        };
        if options.has(b'N') {
            self.store.ask_for_cas();
            let made = self.vivify(asked, &call.time);
            let cas = self.store.told_cas().unwrap_or(0);
            match made {
                Ok(Outcome::Stored) => {
                    if !is_peek {
                        let _read = self.store.get(key, now_s);
                    }
                    self.observe_fetch(&key, Some(miss));
                    self.answer_vivified(asked, cas, call);
                    return true;
                }
                Ok(_) => return false,
                Err(_) => {}
            }
        }
        self.meta_missed(asked, miss, call);
        true
    }

    /// The key of mg is not there.
    #[inline(never)]
    pub(crate) fn meta_missed(&mut self, asked: &Asked<'_>, miss: Miss, call: &mut Call<'_>) {
        let Asked { key, options, .. } = *asked;
        self.observe_fetch(&key, Some(miss));
        self.counters.get_misses.count();
        if !options.has(b'q') {
            let mut writer = Writer::new(call.output.spare(HEADER_MAX_BYTES));
            writer.put(b"EN");
            asked.put_echoes(&mut writer);
            writer.put(b"\r\n");
            let written = writer.len();
            call.output.commit(written);
        }
    }

    #[inline]
    fn count_hit(&self, asked: &Asked<'_>) {
        let counters = &self.counters;
        if asked.options.has(b'T') { counters.touch_hits.count() } else { counters.get_hits.count() }
    }

    /// Makes an empty item, so that others wait for the client that gets it.
    #[cold]
    #[inline(never)]
    fn vivify(&mut self, asked: &Asked<'_>, time: &Time) -> Result<Outcome, PutError> {
        let Asked { key, options, .. } = *asked;
        let put = Put {
            mode: Mode::Add,
            expiry_s: time.expiry_s(vivified_exptime(asked)),
            binary_key: options.has(b'b'),
            cas: options.has(b'E').then_some(options.new_cas),
            win_sent: true,
            ..Put::default()
        };
        self.store.put(key, &put, &[], time.now_s)
    }

    /// Shows the empty item that has just been made, of which all is known.
    fn answer_vivified(&mut self, asked: &Asked<'_>, cas: u64, call: &mut Call<'_>) {
        let Asked { options, meta, .. } = *asked;
        let mut writer = Writer::new(call.output.spare(HEADER_MAX_BYTES));
        writer.put(if options.has(b'v') { b"VA 0" } else { b"HD" });
        let mut expiry_s = 0;
        for flag in meta.flags() {
            match flag.letter {
                b'T' => expiry_s = call.time.expiry_s(options.exptime),
                b'N' => expiry_s = call.time.expiry_s(options.vivify_exptime),
                b't' => put_time_left(&mut writer, expiry_s, &call.time),
                b'c' => put_numbered(&mut writer, b'c', cas),
                b's' | b'f' | b'l' | b'h' => put_numbered(&mut writer, flag.letter, 0),
                b'O' => put_opaque(&mut writer, flag.argument),
                b'k' => asked.put_key(&mut writer),
                _ => {}
            }
        }
        writer.put(if options.has(b'v') { b" W\r\n\r\n" } else { b" W\r\n" });
        let written = writer.len();
        call.output.commit(written);
        self.count_hit(asked);
    }
}

/// The exptime of an item that is made because it was missing: the last one given.
fn vivified_exptime(asked: &Asked<'_>) -> i32 {
    let Asked { meta, options, .. } = *asked;
    let given = meta.flags().filter_map(|flag| match flag.letter {
        b'T' => Some(options.exptime),
        b'N' => Some(options.vivify_exptime),
        _ => None,
    });
    given.last().unwrap_or(options.vivify_exptime)
}

/// What the client gets of an item that was there; `None` where another shard has changed it meanwhile.
#[inline(always)]
fn hit<S: Sharing>(
    asked: &Asked<'_>,
    item: &Item<'_, S>,
    touched: Option<Touched>,
    time: &Time,
) -> Option<Hit> {
    let options = asked.options;
    // What was noted when the item was touched holds: to be told of a later state, it would have to be touched again.
    let expiry_s = touched.map_or_else(|| item.expiry_s(), |touched| touched.before_s);
    let cas = match touched {
        Some(_) => item.current_cas(),
        None if options.has(b'c') => item.shown_cas()?,
        None => 0,
    };
    let wins = match touched {
        Some(touched) => touched.wins.then_some(true),
        None if is_to_fetch(asked, item, expiry_s, time) => Some(item.take_win()?),
        None => None,
    };
    let win = match wins {
        Some(true) => Win::Here,
        // Somebody else was faster, or it was sent before.
        Some(false) => Win::Elsewhere,
        None if item.is_win_sent() => Win::Elsewhere,
        None => Win::None,
    };
    let shows_value = options.has(b'v') && !(options.has(b'C') && item.current_cas() == options.cas);
    Some(Hit { win, shows_value, expiry_s, cas })
}

/// Whether somebody is to fetch a new value, and nobody was told to.
#[inline(always)]
fn is_to_fetch<S: Sharing>(asked: &Asked<'_>, item: &Item<'_, S>, expiry_s: u32, time: &Time) -> bool {
    let wants_newer = || asked.options.has(b'R') && is_to_be_made_anew(asked, expiry_s, time);
    !item.is_win_sent() && (item.is_stale() || wants_newer())
}

/// Whether the item has less time left than the client gave, counted with a new time given before that.
fn is_to_be_made_anew(asked: &Asked<'_>, expiry_s: u32, time: &Time) -> bool {
    let letters = asked.meta.flags().map(|flag| flag.letter);
    let touched = letters.take_while(|&letter| letter != b'R').any(|letter| letter == b'T');
    let expiry_s = if touched { time.expiry_s(asked.options.exptime) } else { expiry_s };
    expiry_s != 0 && expiry_s < time.expiry_s(asked.options.recache_exptime)
}

/// Answers a hit whose request is for the value and nothing else, which is a copy, so that others need not have the
/// item in memory. False, and nothing is answered, where another shard has changed it meanwhile.
#[inline(never)]
pub(crate) fn answer_hit<S: Sharing>(asked: &Asked<'_>, item: Item<'_, S>, call: &mut Call<'_>) -> bool {
    let hit = hit(asked, &item, None, &call.time);
    if let Some(hit) = &hit {
        write_whole_hit(asked, &item, hit, call);
    }
    hit.is_some()
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
    let mut expiry_s = hit.expiry_s;
    for flag in asked.meta.flags() {
        match flag.letter {
            b'T' => expiry_s = time.expiry_s(asked.options.exptime),
            b't' => put_time_left(writer, expiry_s, time),
            b's' => put_numbered(writer, b's', item.len() as u64),
            b'c' => put_numbered(writer, b'c', hit.cas),
            b'f' => put_numbered(writer, b'f', u64::from(item.client_flags())),
            b'l' => put_numbered(writer, b'l', u64::from(time.now_s.saturating_sub(item.last_access_s()))),
            b'h' => put_numbered(writer, b'h', u64::from(item.was_fetched())),
            b'O' => put_opaque(writer, flag.argument),
            b'k' if is_key_encoded(item) => put_key_encoded(writer, item.key()),
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
