//! The list of marks and the marks in the code are the same.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::path::Path;

use mm_sim::MARKS;

/// How often each mark stands in the sources below a folder.
fn count(folder: &Path, marks: &mut BTreeMap<String, usize>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            count(&path, marks);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            for part in text.split("mark!(\"").skip(1) {
                let name = part.split('"').next().unwrap();
                *marks.entry(name.to_owned()).or_default() += 1;
            }
        }
    }
}

#[test]
fn every_mark_is_listed_and_stands_in_one_place() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut marks = BTreeMap::new();
    for name in ["mm-base", "mm-runtime", "mm-server", "mm-store", "mm-memcached"] {
        count(&crates.join(name).join("src"), &mut marks);
    }
    let mut listed: BTreeMap<String, usize> = MARKS.iter().map(|name| ((*name).to_owned(), 1)).collect();
    assert_eq!(listed.len(), MARKS.len(), "a mark is listed twice");
    assert_eq!(std::mem::take(&mut listed), marks);
}
