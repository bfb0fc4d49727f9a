//! The example of this crate's front page, pasted into a crate made in an empty folder, serves.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Ends the server with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn the_front_pages_example_runs_in_a_crate_of_its_own() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(here.join("src/lib.rs")).unwrap();
    let (_, rest) = page.split_once("```no_run\n").unwrap();
    let (example, _) = rest.split_once("//! ```").unwrap();
    let example: String = example
        .lines()
        .map(|line| line.strip_prefix("//! ").or_else(|| line.strip_prefix("//!")).unwrap().to_owned() + "\n")
        .collect();
    let readme = fs::read_to_string(here.join("../../README.md")).unwrap();
    assert!(readme.contains(&format!("```rust\n{example}```\n")), "README.md has another one");

    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("front-page");
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(folder.join("src/main.rs"), example).unwrap();
    let manifest = format!(
        "[package]\nname = \"front-page\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [dependencies]\nmainmemory = {{ path = {:?} }}\n\n[workspace]\n",
        here.display().to_string(),
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    // The versions that everything else here is built with, so that nothing has to be fetched.
    fs::copy(here.join("../../Cargo.lock"), folder.join("Cargo.lock")).unwrap();

    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline", "--target-dir", "target"])
        .current_dir(&folder)
        .status();
    assert!(built.unwrap().success());
    let mut command = Command::new(folder.join("target/debug/front-page"));
    let mut server = Running(command.arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.split_whitespace().find(|word| word.contains(':')).unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"hello\nworld!\n\n").unwrap();
    let mut answers = [0; 6];
    client.read_exact(&mut answers).unwrap();
    assert_eq!(&answers, b"6\n7\n1\n");
}
