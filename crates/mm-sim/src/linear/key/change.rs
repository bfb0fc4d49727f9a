//! Storing and counting.

use super::{Answer, Count, Item, Mode, Store};

/// What the key holds after a value was stored with this answer; `None` where that cannot be.
pub(super) fn store(item: Option<&Item>, store: &Store, answer: &Answer) -> Option<Option<Item>> {
    let kept = || Some(item.cloned());
    let refused = match (store.mode, item) {
        (Mode::Add, Some(_)) | (Mode::Replace | Mode::Append { vivify: None, .. }, None) => Answer::NotStored,
        (Mode::Append { compare: Some(cas), .. } | Mode::Cas(cas), Some(item)) if !item.is_of(cas) => {
            Answer::Exists
        }
        (Mode::Cas(_) | Mode::CasOrStale(_), None) => Answer::NotFound,
        (Mode::CasOrStale(cas), Some(item)) if item.cas.is_some_and(|known| known < cas) => Answer::Exists,
        // An item whose value was not told may have a lower one, if it came into being after one with that was removed.
        (Mode::CasOrStale(cas), Some(item)) if item.cas.is_none() && *answer == Answer::Exists => {
            return if item.cas_above < cas { kept() } else { None };
        }
        _ => {
            let Answer::Stored { cas } = answer else { return None };
            return stored(item, store).told(*cas).map(Some);
        }
    };
    if *answer == refused { kept() } else { None }
}

/// The item after a value was stored whose mode's condition holds.
fn stored(item: Option<&Item>, store: &Store) -> Item {
    let value = store.value.clone();
    let Some(item) = item else {
        let vivified_s = if let Mode::Append { vivify, .. } = store.mode { vivify } else { None };
        return Item::new(value, vivified_s.unwrap_or(store.expiry_s));
    };
    match store.mode {
        Mode::Append { .. } => {
            let joined = [item.value.as_slice(), &value].concat();
            item.followed_by(joined, item.expiry_s)
        }
        Mode::CasOrStale(cas) if !item.is_of(cas) => {
            let next = item.followed_by(value, item.expiry_s);
            Item { is_stale: true, win_sent: item.win_sent, ..next }
        }
        _ => item.followed_by(value, store.expiry_s),
    }
}

/// What the key holds after a number was counted with this answer; `None` where that cannot be.
pub(super) fn count(item: Option<&Item>, count: &Count, answer: &Answer) -> Option<Option<Item>> {
    let kept = || Some(item.cloned());
    let (next, cas) = match (item, count.vivify, answer) {
        (None, None, _) => return if *answer == Answer::NotFound { kept() } else { None },
        (None, Some((initial, expiry_s)), Answer::Number { number, cas }) if *number == initial => {
            (Item::new(initial.to_string().into_bytes(), expiry_s), *cas)
        }
        (None, Some(_), _) => return None,
        (Some(item), _, _) if count.compare.is_some_and(|cas| !item.is_of(cas)) => {
            return if *answer == Answer::Exists { kept() } else { None };
        }
        (Some(item), _, _) => {
            let text = std::str::from_utf8(&item.value).ok();
            let Some(before) = text.and_then(|text| text.parse::<u64>().ok()) else {
                return if *answer == Answer::NotANumber { kept() } else { None };
            };
            let by = u64::from(count.delta.unsigned_abs());
            let after = if count.delta < 0 { before.saturating_sub(by) } else { before.wrapping_add(by) };
            let Answer::Number { number, cas } = answer else { return None };
            if *number != after {
                return None;
            }
            let next = item.followed_by(after.to_string().into_bytes(), item.expiry_s);
            (Item { is_stale: item.is_stale, win_sent: item.win_sent, ..next }, *cas)
        }
    };
    next.told(cas).map(Some)
}
