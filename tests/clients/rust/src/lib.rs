//! Holds the tests of client crates; there is nothing else in it.
