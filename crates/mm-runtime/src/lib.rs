//! Shards, tasks, timers, drivers and sockets.
