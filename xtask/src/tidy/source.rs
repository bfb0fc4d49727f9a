//! One text file of the tree.

/// The extensions of files that hold code, as opposed to documents.
const CODE: &[&str] = &["rs", "toml", "sh", "py", "js", "yml", "run"];

/// A text file with its path relative to the workspace's root.
#[derive(Debug)]
pub(crate) struct Source {
    path: String,
    text: String,
}

impl Source {
    /// A file by its path, with `/` between folders, and its whole text.
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// The path relative to the workspace's root.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The whole text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The lines with their numbers, from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The line with this number, from 1; empty beyond the end.
    pub(crate) fn line(&self, number: usize) -> &str {
        self.text.lines().nth(number.wrapping_sub(1)).unwrap_or("")
    }

    /// Whether this is Rust code.
    pub(crate) fn is_rust(&self) -> bool {
        self.extension() == "rs"
    }

    /// Whether this is a Markdown page.
    pub(crate) fn is_markdown(&self) -> bool {
        self.extension() == "md"
    }

    /// Whether this is code of any language, as opposed to a document.
    pub(crate) fn is_code(&self) -> bool {
        CODE.contains(&self.extension())
    }

    fn extension(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or("");
        name.rsplit_once('.').map_or(name, |(_, extension)| extension)
    }
}
