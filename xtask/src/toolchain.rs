//! Which toolchain can compile for a platform.
//!
//! A toolchain has the standard library of the machine's own platform and perhaps of others. Where it has the library's
//! source, it can also compile that for the platform first. Debian has packages of both for a recent compiler, so
//! besides the toolchain in use the system's own is looked at.

use std::path::{Path, PathBuf};
use std::process::Command as Program;

use crate::process::{program, root};

/// How to get a toolchain that can compile for any platform.
pub(crate) const REMEDY: &str =
    "rustup target add the platform, or apt-get install rustc-web cargo-web rust-web-src";

/// The oldest minor version that understands our code: the workspace's `rust-version`.
const MINOR_MIN: u32 = 95;

/// A toolchain and how it comes by a platform's standard library.
#[derive(Debug)]
pub(crate) struct Toolchain {
    /// The folder of its programs; `None`: the toolchain that runs us.
    programs: Option<PathBuf>,
    /// Whether it must compile the standard library first.
    compiles_library: bool,
}

impl Toolchain {
    /// One that can compile for `target`, if there is one.
    pub(crate) fn for_target(target: &str) -> Option<Self> {
        let ready = ["--print", "target-libdir", "--target", target];
        if path_printed(&mut program("rustc", &ready)).is_some_and(|folder| folder.is_dir()) {
            return Some(Self { programs: None, compiles_library: false });
        }
        if has_source(&mut program("rustc", &["--print", "sysroot"])) {
            return Some(Self { programs: None, compiles_library: true });
        }
        let system = Path::new("/usr/bin");
        let is_recent = minor_version(&system.join("rustc")).is_some_and(|minor| minor >= MINOR_MIN);
        if is_recent && has_source(Program::new(system.join("rustc")).args(["--print", "sysroot"])) {
            return Some(Self { programs: Some(system.to_owned()), compiles_library: true });
        }
        None
    }

    /// A cargo command for `target`, with the library's crates that it needs. Its output lies apart from that of other
    /// toolchains.
    pub(crate) fn cargo(&self, command: &str, target: &str, library: &str) -> Program {
        let mut cargo = match &self.programs {
            None => crate::process::cargo(&[command]),
            Some(folder) => {
                let mut cargo = program(&folder.join("cargo").to_string_lossy(), &[command]);
                cargo.env("RUSTC", folder.join("rustc")).env_remove("RUSTUP_TOOLCHAIN");
                cargo
            }
        };
        cargo.args(["--quiet", "--target", target]);
        if self.compiles_library {
            cargo.env("RUSTC_BOOTSTRAP", "1").arg(format!("-Zbuild-std={library}"));
        }
        cargo.env("CARGO_TARGET_DIR", root().join("target").join("targets"));
        cargo
    }
}

/// The path that a program prints, if it succeeds.
fn path_printed(program: &mut Program) -> Option<PathBuf> {
    let output = program.output().ok().filter(|output| output.status.success())?;
    let printed = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(printed.trim())).filter(|path| !path.as_os_str().is_empty())
}

/// Whether the toolchain in the printed folder has the standard library's source.
fn has_source(sysroot: &mut Program) -> bool {
    path_printed(sysroot)
        .is_some_and(|folder| folder.join("lib/rustlib/src/rust/library/Cargo.lock").is_file())
}

/// 95 for rustc 1.95.0.
fn minor_version(rustc: &Path) -> Option<u32> {
    let output = Program::new(rustc).arg("--version").output().ok()?;
    parse_minor(&String::from_utf8(output.stdout).ok()?)
}

fn parse_minor(version: &str) -> Option<u32> {
    version.strip_prefix("rustc 1.")?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse_minor;

    #[test]
    fn the_minor_version_is_what_counts() {
        assert_eq!(
            parse_minor("rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\n"),
            Some(96)
        );
        assert_eq!(parse_minor("rustc 2.0.0"), None);
    }
}
