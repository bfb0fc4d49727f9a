//! The kinds of work that are compared.

/// Which keys and values a row works on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Values {
    /// A million keys of about 11 bytes with values of 100 bytes.
    Small,
    /// A thousand keys with values of 64 KiB.
    Large,
}

impl Values {
    /// How many keys there are.
    pub(super) fn keys(self) -> u64 {
        match self {
            Self::Small => 1_000_000,
            Self::Large => 1_000,
        }
    }

    /// Bytes in each value.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Small => 100,
            Self::Large => 64 << 10,
        }
    }

    /// What every key begins with.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Small => "key:",
            Self::Large => "large:",
        }
    }
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
}

const GET_ONE: Row = Row {
    name: "get-one",
    title: "get, one per trip, 50 connections",
    values: Values::Small,
    connections: 50,
    depth: 1,
    multiget: 1,
    set_ratio: 0.0,
    zipf: 0.0,
};

/// All rows, in the order of the table.
pub(super) const ROWS: &[Row] = &[
    GET_ONE,
    Row { name: "set-one", title: "set, one per trip, 50 connections", set_ratio: 1.0, ..GET_ONE },
    Row { name: "get-deep", title: "get, 50 deep, 20 connections", connections: 20, depth: 50, ..GET_ONE },
    Row {
        name: "set-deep",
        title: "set, 50 deep, 20 connections",
        connections: 20,
        depth: 50,
        set_ratio: 1.0,
        ..GET_ONE
    },
    Row {
        name: "multiget",
        title: "get of 50 keys, 20 connections",
        connections: 20,
        multiget: 50,
        ..GET_ONE
    },
    Row {
        name: "mix-zipf",
        title: "90 % get, 10 % set, Zipf 0.99, 50 deep, 20 connections",
        connections: 20,
        depth: 50,
        set_ratio: 0.1,
        zipf: 0.99,
        ..GET_ONE
    },
    Row {
        name: "get-large",
        title: "get of 64 KiB, 20 connections",
        values: Values::Large,
        connections: 20,
        ..GET_ONE
    },
];

impl Row {
    /// Whether `--only` asks for it.
    pub(super) fn is_wanted(&self, only: &[String]) -> bool {
        only.is_empty() || only.iter().any(|part| self.name.contains(part.as_str()))
    }
}
