//! The files that tidy looks at.

use std::fs;
use std::path::Path;

use super::source::Source;
use crate::command::Failure;

/// Folders that hold nothing written by hand.
const SKIPPED_FOLDERS: &[&str] = &[".git", "target", "node_modules", "corpus"];
/// Files written by tools (`.git` is one in a second working tree), and licences, whose words are not ours.
const SKIPPED_FILES: &[&str] = &[".git", "Cargo.lock", "package-lock.json", "LICENSE-APACHE", "LICENSE-MIT"];

/// All text files below the workspace's root.
#[derive(Debug)]
pub(crate) struct Tree {
    sources: Vec<Source>,
}

impl Tree {
    /// Reads every text file below `root`; files that are not UTF-8 are left out.
    ///
    /// # Errors
    /// [`Failure::Failed`] if a folder or file cannot be read.
    pub(crate) fn read(root: &Path) -> Result<Self, Failure> {
        let mut sources = Vec::new();
        collect(root, "", &mut sources)
            .map_err(|error| Failure::Failed(format!("cannot read {}: {error}", root.display())))?;
        sources.sort_by(|a, b| a.path().cmp(b.path()));
        Ok(Self { sources })
    }

    /// A tree of the given files.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self { sources: files.iter().map(|(path, text)| Source::new(*path, *text)).collect() }
    }

    /// Every file, sorted by path.
    pub(crate) fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The file at this path.
    pub(crate) fn find(&self, path: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.path() == path)
    }

    /// The files whose path begins so.
    pub(crate) fn below(&self, prefix: &str) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(move |source| source.path().starts_with(prefix))
    }
}

fn collect(folder: &Path, prefix: &str, sources: &mut Vec<Source>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() && !SKIPPED_FOLDERS.contains(&name.as_str()) {
            collect(&entry.path(), &format!("{path}/"), sources)?;
        } else if kind.is_file()
            && !SKIPPED_FILES.contains(&name.as_str())
            && let Ok(text) = String::from_utf8(fs::read(entry.path())?)
        {
            sources.push(Source::new(path, text));
        }
    }
    Ok(())
}
