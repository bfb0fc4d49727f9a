//! Reading.

use super::{Answer, Get, Item, Refresh, Win};

/// What the key holds after a read that was answered so; `None` where it cannot be.
pub(super) fn get(item: Option<&Item>, get: &Get, answer: &Answer) -> Option<Option<Item>> {
    let (mut item, is_new) = match (item, get.vivify) {
        (None, None) => return (*answer == Answer::NotFound).then_some(None),
        (None, Some(expiry_s)) => (Item { win_sent: true, ..Item::new(Vec::new(), expiry_s) }, true),
        (Some(item), _) => (item.clone(), false),
    };
    let Answer::Seen(seen) = answer else { return None };
    let win = match () {
        () if is_new => Win::Here,
        () if item.win_sent => Win::Elsewhere,
        () if item.is_stale => Win::Here,
        () => Win::None,
    };
    if let (Some(expiry_s), false) = (get.touch, is_new) {
        item.expiry_s = expiry_s;
    }
    let refresh = Refresh { is_stale: item.is_stale, win };
    let is_right = seen.value == item.value
        && seen.expiry_s.is_none_or(|expiry_s| expiry_s == item.expiry_s)
        && seen.refresh.is_none_or(|told| told == refresh);
    item.win_sent |= get.may_win && win == Win::Here;
    if is_right { item.told(seen.cas).map(Some) } else { None }
}
