//! A framework for network servers: a connection is written as sequential code and served by an event loop, one loop
//! per core.
//!
//! A server is a configuration, the addresses it listens on, and what it does with a connection:
//!
//! ```no_run
//! use std::io;
//!
//! use mainmemory::{Config, Server, Stream};
//!
//! /// Answers each line with its length.
//! async fn lengths(stream: Stream) -> io::Result<()> {
//!     let (mut reader, mut writer) = stream.buffered();
//!     loop {
//!         let length = reader.read_until(b'\n').await?;
//!         if !reader.buffered()[..length].ends_with(b"\n") {
//!             return Ok(());
//!         }
//!         reader.consume(length);
//!         writer.write_all(format!("{length}\n").as_bytes()).await?;
//!     }
//! }
//!
//! fn main() -> io::Result<()> {
//!     let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7007".into());
//!     let config = Config { idle_timeout_ms: Some(60_000), ..Config::default() };
//!     let server = Server::new(config).listen(&address.parse()?)?;
//!     println!("{server}");
//!     server.serve(lengths)?;
//!     Ok(())
//! }
//! ```
//!
//! Limits, time-outs, back-pressure, draining and signals are the [`Config`]'s and the server's affair. A handler that
//! waits costs its shard nothing; everything between two awaits is uninterrupted, so what the tasks of a shard share
//! needs no lock.
//!
//! What waits can be given up by [`timeout`](runtime::timers::timeout), or wait for the first of two by
//! [`select`](runtime::sync::select): [`runtime::net`] says what that does to a read or a write. A request that waits
//! for something other than its peer waits with [`finished`](runtime::net::BufferedReader::finished) beside it, which
//! tells that the peer has gone or the server stops. An error of the framework becomes an [`io::Error`](std::io::Error)
//! by `?`. What a handler returns as an error is [counted](Server::serve).
//!
//! A test serves on a free port, without the process's signals, and stops the server at its end:
//!
//! ```
//! # use std::io;
//! # async fn lengths(stream: mainmemory::Stream) -> io::Result<()> {
//! #     let (mut reader, mut writer) = stream.buffered();
//! #     loop {
//! #         let length = reader.read_until(b'\n').await?;
//! #         if length == 0 {
//! #             return Ok(());
//! #         }
//! #         reader.consume(length);
//! #         writer.write_all(format!("{length}\n").as_bytes()).await?;
//! #     }
//! # }
//! use std::io::{BufRead, BufReader, Write};
//! use std::net::TcpStream;
//! use std::thread;
//!
//! use mainmemory::{Config, Server, Stop};
//!
//! # fn main() -> io::Result<()> {
//! let config = Config { signals: false, ..Config::default() };
//! let server = Server::new(config).listen(&"127.0.0.1:0".parse()?)?;
//! let address = server.addresses().next().expect("it listens").to_string();
//! let handle = server.handle();
//! let serving = thread::spawn(move || server.serve(lengths));
//!
//! let mut client = TcpStream::connect(address)?;
//! client.write_all(b"hello\n")?;
//! let mut answer = String::new();
//! BufReader::new(client).read_line(&mut answer)?;
//! assert_eq!(answer, "6\n");
//!
//! handle.stop(Stop::Gracefully);
//! let summary = serving.join().expect("no panic of the server")?;
//! assert_eq!((summary.connections_total, summary.drain_timeouts), (1, 0));
//! assert!(handle.stats().iter().all(|stats| stats.faults.get() + stats.panics.get() == 0));
//! # Ok(())
//! # }
//! ```
//!
//! A [`Service`] is the other way to write a server: bytes in, bytes out, no sockets and no tasks of its own. It is
//! faster, is tested by a [harness](server::harness) without sockets, and says itself what a handler gets by waiting:
//! when to read, when a request is parked, where an upload goes.
//!
//! | for | look at |
//! |---|---|
//! | the fast path: a protocol without sockets | [`Service`], [`Server::serve_with`] |
//! | streams, datagrams, connecting, names | [`runtime::net`] |
//! | tasks: spawning, joining, groups, priorities, data of their own | [`runtime::task`] |
//! | channels, semaphores, conditions; waiting for several things | [`runtime::sync`] |
//! | other shards: a value on each, work submitted to them | [`runtime::shards`] |
//! | sleeping, time-outs | [`runtime::timers`] |
//! | work that blocks: files | [`runtime::offload`] |
//! | what an operator should know: stalls, dumps | [`Log`], [`Handle::dump`] |
//! | a whole server in virtual time, with faults, from a seed (services only) | [`server::simulation`] |
//! | tasks and sockets of a shard, besides its connections | [`Server::on_start`] |
//! | a cache's memory | [`store`] |
//!
//! The examples of this crate are servers of other kinds: echo (both ways), chat across shards, a line protocol,
//! queues (requests that wait), a proxy, files (a service whose uploads go straight to their place and whose requests
//! wait for other threads), UDP, HTTP.

#![forbid(unsafe_code)]

pub use mm_base as base;
pub use mm_runtime as runtime;
pub use mm_server as server;
pub use mm_store as store;

pub use mm_base::Now;
pub use mm_base::buffer::Output;
pub use mm_runtime::block_on;
pub use mm_server::{
    Config, Handle, ListenAddress, Log, Peer, Ready, Server, Service, Signal, Start, Step, Stop, Stream,
    Token, available_shards,
};
