//! Whole services without sockets: what is answered to which bytes, however they are cut.

#[cfg(test)]
mod aloud;
#[cfg(test)]
mod between;
#[cfg(test)]
mod binary;
#[cfg(test)]
mod classic;
#[cfg(test)]
mod counters;
#[cfg(test)]
mod dumps;
#[cfg(test)]
mod meta;
#[cfg(test)]
mod packets;
#[cfg(test)]
mod populate;
#[cfg(test)]
mod readers;
#[cfg(test)]
mod server;
#[cfg(test)]
mod shards;
#[cfg(test)]
mod sizes;
#[cfg(test)]
mod transcripts;
#[cfg(test)]
mod values;
#[cfg(test)]
mod waiting;
#[cfg(test)]
mod watch;
#[cfg(test)]
mod world;
