//! A measurement that would measure nothing is refused before it begins, and says what there is.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail like the test itself")]

use std::process::Command;

/// What the command complains of.
fn complaint(arguments: &str) -> String {
    let words = arguments.split(' ');
    let output = Command::new(env!("CARGO_BIN_EXE_mm-bench")).args(words).output().unwrap();
    assert!(!output.status.success(), "{arguments}: exit code 0");
    assert!(output.stdout.is_empty(), "{arguments}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn what_would_measure_nothing_is_refused() {
    for (arguments, named) in [
        ("compare --rounds 0", "--rounds 0"),
        ("compare --mmem /nonexistent/mmem", "--mmem /nonexistent/mmem"),
        ("compare --other-mmem /nonexistent/mmem", "--other-mmem /nonexistent/mmem"),
        ("instructions --mmem /nonexistent/mmem", "mmem"),
        ("density --only nosuch", "kvcache"),
        ("density --cache nosuch", "memcached"),
        ("framework --only nosuch", "idle"),
        ("framework --rounds 0", "--rounds 0"),
        ("neighbours --rounds 0", "--rounds 0"),
        ("experiment turn --only nosuch", "nosuch"),
        ("experiment turn --rounds 0", "--rounds 0"),
        ("load --requests 0", "--requests"),
        ("load --seconds 0", "--seconds"),
        ("load --seconds NaN", "--seconds"),
    ] {
        let complaint = complaint(arguments);
        assert!(complaint.contains(named), "{arguments}: {complaint}");
    }
}
