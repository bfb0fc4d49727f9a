//! The knobs of eviction over segments. The defaults are what measured best.

/// What can be tuned. Shares are in thousandths of the limit unless they say otherwise.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// A segment is this part of the limit (and at most 2 MiB).
    pub(crate) segments: u64,
    /// The small queue's share to begin with.
    pub(crate) small_permille: u64,
    /// Whether ghosts move the small queue's share.
    pub(crate) adapts: bool,
    /// While next to nothing earns its way from the small queue to main (a loop longer than the cache), so many
    /// thousandths of what would be dropped go there all the same.
    pub(crate) chance_permille: u64,
    /// Reads counted at most.
    pub(crate) frequency_max: u8,
    /// Frequency an item of mean size needs to go from the small queue to main.
    pub(crate) promote_at: u8,
    /// The same while the small queue is more than this many times its target (0: never).
    pub(crate) lenient_above: u64,
    /// What happens to the frequency of an item that stays in main.
    pub(crate) decay: Decay,
    /// How much size counts: the frequency needed grows with size to this power.
    pub(crate) size_power: f64,
    /// Ghosts of the small queue per live item, in thousandths.
    pub(crate) ghosts_permille: u64,
    /// A segment with more dead bytes than these thousandths is always compacted before anything live is dropped.
    pub(crate) dead_permille: u64,
    /// With less than that, but more than [`Settings::DEAD_MIN_PERMILLE`], it is compacted while copying stays below
    /// these thousandths of what clients write.
    pub(crate) copy_permille: u64,
    /// Open segments per queue: one for items without a time to live and the rest for times of growing length.
    pub(crate) ttl_groups: u8,
    /// Main's victim is the one with least to keep among so many of its oldest segments.
    pub(crate) candidates: usize,
    /// Of a segment of main at most these thousandths stay, the most frequent for their size (as Segcache merges).
    pub(crate) kept_permille: u64,
}

/// What surviving in main does to the frequency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decay {
    /// One less.
    Step,
    /// Half.
    Halve,
    /// None is left.
    Clear,
}

impl Settings {
    /// Fewer dead bytes than these thousandths of a segment are never worth a copy.
    pub(crate) const DEAD_MIN_PERMILLE: u64 = 50;

    /// What the store does of it so far.
    pub(crate) fn built() -> Self {
        Self {
            adapts: false,
            lenient_above: 0,
            dead_permille: 200,
            copy_permille: 0,
            ttl_groups: 1,
            ..Self::default()
        }
    }

    /// S3-FIFO as published, only over segments: what the additions are measured against.
    pub(crate) fn plain() -> Self {
        Self {
            adapts: false,
            lenient_above: 0,
            size_power: 0.0,
            dead_permille: 500,
            copy_permille: 0,
            ttl_groups: 1,
            ..Self::default()
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            segments: 512,
            small_permille: 100,
            adapts: true,
            chance_permille: 0,
            frequency_max: 3,
            promote_at: 2,
            lenient_above: 3,
            decay: Decay::Step,
            size_power: 0.5,
            ghosts_permille: 1000,
            dead_permille: 300,
            copy_permille: 1000,
            ttl_groups: 6,
            candidates: 1,
            kept_permille: 1000,
        }
    }
}
