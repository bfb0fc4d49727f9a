//! Traces and workload figures from files; the formats are told apart by name and folder.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::number::to_u32;

pub(crate) mod arc;
pub(crate) mod ids;
pub(crate) mod meta;
pub(crate) mod twitter;

/// Numbers objects densely in the order of their first appearance.
#[derive(Debug, Default)]
pub(crate) struct Numbering {
    numbers: HashMap<u64, u32>,
}

impl Numbering {
    pub(crate) fn number(&mut self, id: u64) -> u32 {
        let next = to_u32(self.numbers.len());
        *self.numbers.entry(id).or_insert(next)
    }

    pub(crate) fn count(&self) -> u32 {
        to_u32(self.numbers.len())
    }
}

/// The whole content of a file, decompressed as its ending asks (`.gz`, `.xz`, `.zst`).
pub(crate) fn content(path: &Path) -> io::Result<Vec<u8>> {
    let file = BufReader::new(File::open(path)?);
    let mut bytes = Vec::new();
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("gz") => flate2::bufread::MultiGzDecoder::new(file).read_to_end(&mut bytes)?,
        Some("xz") => lzma_rust2::XzReader::new(file, true).read_to_end(&mut bytes)?,
        Some("zst") => ruzstd::decoding::StreamingDecoder::new(file)
            .map_err(io::Error::other)?
            .read_to_end(&mut bytes)?,
        _ => {
            let mut file = file;
            file.read_to_end(&mut bytes)?
        }
    };
    Ok(bytes)
}

/// An error that names the file and what was wrong in it.
pub(crate) fn malformed(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()))
}
