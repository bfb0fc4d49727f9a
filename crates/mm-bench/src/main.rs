//! Load generator, floors and experiments.

fn main() {}
