//! The kinds of work that are compared.

/// Which keys and values a row works on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Values {
    /// What every key begins with.
    pub(super) prefix: &'static str,
    /// How many keys there are.
    pub(super) keys: u64,
    /// Bytes in each value.
    pub(super) bytes: usize,
    /// Memory each cache may use, in MiB.
    pub(super) memory_mib: u32,
}

impl Values {
    /// Whether all of them have room in memory.
    pub(super) fn fit(self) -> bool {
        self != TOO_MANY
    }

    /// Whether rows on these and on `other` are measured by turns, so that all meet the weather of minutes: those on
    /// the same, and those on larger values, whose copies feel what the host's other guests do to memory.
    pub(super) fn take_turns_with(self, other: Self) -> bool {
        let are_large = |values: Self| values.bytes >= LARGE_BYTES;
        self == other || are_large(self) && are_large(other)
    }

    /// How many have as many bytes as there is memory.
    pub(super) fn to_fill_memory(self) -> u64 {
        (u64::from(self.memory_mib) << 20) / self.bytes as u64
    }
}

/// Memory in which everything fits, in MiB.
const ROOMY_MIB: u32 = 1024;

/// A million keys of about 11 bytes with values of 100 bytes.
const SMALL: Values = Values { prefix: "key:", keys: 1_000_000, bytes: 100, memory_mib: ROOMY_MIB };

/// Eight times as many as there is memory for: nearly every set stores a new key, and something has to go for it.
const TOO_MANY: Values = Values { prefix: "evict:", keys: 8_000_000, bytes: 100, memory_mib: 128 };

/// Fifty million keys of 20 bytes with values of 10: of their buckets and items next to nothing is in the processor's
/// caches.
const MANY: Values = Values { prefix: "many-keys---", keys: 50_000_000, bytes: 10, memory_mib: 6 << 10 };

/// The shortest of the larger values, in bytes.
const LARGE_BYTES: usize = 4 << 10;

/// 64 MiB of larger values.
const fn large(prefix: &'static str, kib: usize) -> Values {
    Values { prefix, keys: (64 << 10) / kib as u64, bytes: kib << 10, memory_mib: ROOMY_MIB }
}

const KIB_4: Values = large("4k:", 4);
const KIB_16: Values = large("16k:", 16);
const KIB_64: Values = large("large:", 64);
const KIB_256: Values = large("256k:", 256);
const KIB_1024: Values = large("1024k:", 1024);

/// When a row is measured: when it is named, in any case.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum When {
    Always,
    /// With `--all`.
    All,
    /// Never besides: it takes minutes and gigabytes.
    Named,
}

/// One kind of work.
#[derive(Debug)]
pub(super) struct Row {
    /// What `--only` matches.
    pub(super) name: &'static str,
    /// What it is, for people.
    pub(super) title: &'static str,
    pub(super) values: Values,
    pub(super) connections: usize,
    pub(super) depth: usize,
    pub(super) multiget: usize,
    pub(super) set_ratio: f64,
    pub(super) zipf: f64,
    /// It is measured on caches that have just been started and hold nothing.
    pub(super) is_fresh: bool,
    /// When it is measured.
    when: When,
    /// Latency at fixed rates of arrival is measured too, with `--all`.
    pub(super) paced: bool,
}

const GET_ONE: Row = Row {
    name: "get-one",
    title: "get, one per trip, 50 connections",
    values: SMALL,
    connections: 50,
    depth: 1,
    multiget: 1,
    set_ratio: 0.0,
    zipf: 0.0,
    is_fresh: false,
    when: When::Always,
    paced: true,
};

const OTHER: Row = Row { paced: false, ..GET_ONE };
const EXTRA: Row = Row { when: When::All, ..OTHER };
const DEEP: Row = Row { connections: 20, depth: 50, ..OTHER };
const LARGE: Row = Row { connections: 20, ..EXTRA };
const DEEP_IN_MANY: Row = Row { values: MANY, when: When::Named, ..DEEP };

/// All rows, in the order of the table.
pub(super) const ROWS: &[Row] = &[
    Row { name: "get-one-1", title: "get, one per trip, 1 connection", connections: 1, ..EXTRA },
    GET_ONE,
    Row { name: "get-one-200", title: "get, one per trip, 200 connections", connections: 200, ..EXTRA },
    Row { name: "get-one-1000", title: "get, one per trip, 1,000 connections", connections: 1_000, ..EXTRA },
    Row {
        name: "get-one-10000",
        title: "get, one per trip, 10,000 connections",
        connections: 10_000,
        ..EXTRA
    },
    Row { name: "set-one", title: "set, one per trip, 50 connections", set_ratio: 1.0, ..OTHER },
    Row {
        name: "set-one-200",
        title: "set, one per trip, 200 connections",
        connections: 200,
        set_ratio: 1.0,
        ..EXTRA
    },
    Row {
        name: "mix-one",
        title: "90 % get, 10 % set, Zipf 0.99, one per trip, 50 connections",
        set_ratio: 0.1,
        zipf: 0.99,
        paced: true,
        ..EXTRA
    },
    Row { name: "get-deep", title: "get, 50 deep, 20 connections", ..DEEP },
    Row { name: "set-deep", title: "set, 50 deep, 20 connections", set_ratio: 1.0, ..DEEP },
    Row {
        name: "set-deep-fresh",
        title: "set, 50 deep, 20 connections, into caches never used before",
        set_ratio: 1.0,
        is_fresh: true,
        when: When::All,
        ..DEEP
    },
    Row {
        name: "set-evict",
        title: "set, 50 deep, 20 connections, each evicts (-m 128)",
        values: TOO_MANY,
        set_ratio: 1.0,
        when: When::All,
        ..DEEP
    },
    Row { name: "multiget", title: "get of 50 keys, 20 connections", depth: 1, multiget: 50, ..DEEP },
    Row {
        name: "mix-zipf",
        title: "90 % get, 10 % set, Zipf 0.99, 50 deep, 20 connections",
        set_ratio: 0.1,
        zipf: 0.99,
        ..DEEP
    },
    Row { name: "get-4k", title: "get of 4 KiB, 20 connections", values: KIB_4, ..LARGE },
    Row { name: "get-16k", title: "get of 16 KiB, 20 connections", values: KIB_16, ..LARGE },
    Row {
        name: "get-large",
        title: "get of 64 KiB, 20 connections",
        values: KIB_64,
        when: When::Always,
        ..LARGE
    },
    Row { name: "get-256k", title: "get of 256 KiB, 20 connections", values: KIB_256, ..LARGE },
    Row { name: "get-1m", title: "get of 1 MiB, 20 connections", values: KIB_1024, ..LARGE },
    Row {
        name: "set-large",
        title: "set of 64 KiB, 20 connections",
        values: KIB_64,
        set_ratio: 1.0,
        ..LARGE
    },
    Row { name: "many-get", title: "get, 50 deep, of 50 million keys", ..DEEP_IN_MANY },
    Row { name: "many-set", title: "set, 50 deep, of 50 million keys", set_ratio: 1.0, ..DEEP_IN_MANY },
    Row {
        name: "many-multiget",
        title: "get of 50 of 50 million keys",
        depth: 1,
        multiget: 50,
        ..DEEP_IN_MANY
    },
    Row {
        name: "many-mix",
        title: "90 % get, 10 % set, Zipf 0.99, 50 deep, of 50 million keys",
        set_ratio: 0.1,
        zipf: 0.99,
        ..DEEP_IN_MANY
    },
];

/// Connections beyond which making them takes longer than a round of the usual length.
const QUICKLY_CONNECTED_MAX: usize = 500;

impl Row {
    /// Whether `--only` asks for it, by its name or by a part of several names; where nothing is asked for, whether
    /// it is one of the common ones, or `all` are meant.
    pub(super) fn is_wanted(&self, only: &[String], all: bool) -> bool {
        let is_meant = |part: &String| {
            let names_one = ROWS.iter().any(|row| row.name == part);
            if names_one { self.name == part } else { self.name.contains(part.as_str()) }
        };
        if only.is_empty() {
            self.when == When::Always || all && self.when == When::All
        } else {
            only.iter().any(is_meant)
        }
    }

    /// Whether there is no memory for all that it stores.
    pub(super) fn evicts(&self) -> bool {
        self.stores() && !self.values.fit()
    }

    /// Whether every key that it asks for was stored before and has room.
    pub(super) fn misses_none(&self) -> bool {
        !self.is_fresh && self.values.fit()
    }

    /// Whether a part of its requests are sets.
    pub(super) fn stores(&self) -> bool {
        self.set_ratio > 0.0
    }

    /// Whether a round begins with what takes longer than a round of the usual length: servers that are started, or
    /// very many connections made.
    pub(super) fn begins_slowly(&self) -> bool {
        self.is_fresh || self.connections > QUICKLY_CONNECTED_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: &[&str], all: bool) -> Vec<&'static str> {
        let only: Vec<String> = only.iter().map(|&part| part.to_owned()).collect();
        ROWS.iter().filter(|row| row.is_wanted(&only, all)).map(|row| row.name).collect()
    }

    #[test]
    fn a_whole_name_means_one_row_and_a_part_all_that_have_it() {
        assert_eq!(names(&["get-one"], false), ["get-one"]);
        assert_eq!(names(&["one-200"], false), ["get-one-200", "set-one-200"]);
        assert_eq!(names(&["nothing"], true), [""; 0]);
    }

    #[test]
    fn the_common_rows_are_those_of_the_goals() {
        let common = ["get-one", "set-one", "get-deep", "set-deep", "multiget", "mix-zipf", "get-large"];
        assert_eq!(names(&[], false), common);
        assert_eq!(names(&[], true).len() + names(&["many-"], false).len(), ROWS.len());
    }
}
