//! The figures of a comparison as a table for people and as JSON for programs.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use super::rows::Row;
use crate::load::Report;
use crate::machine::median;

/// What one server gave in one row, a figure per round.
pub(super) struct Figures {
    name: String,
    cpu_ns: Vec<f64>,
    multiple: Vec<f64>,
    keys_per_s: Vec<f64>,
    median_us: Vec<f64>,
    p99_us: Vec<f64>,
    misses: u64,
}

impl Figures {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            cpu_ns: Vec::new(),
            multiple: Vec::new(),
            keys_per_s: Vec::new(),
            median_us: Vec::new(),
            p99_us: Vec::new(),
            misses: 0,
        }
    }

    /// Notes a round.
    pub(super) fn add(&mut self, cpu_ns: f64, multiple: f64, report: &Report) {
        self.cpu_ns.push(cpu_ns);
        self.multiple.push(multiple);
        self.keys_per_s.push(report.keys_per_s());
        self.median_us.push(report.latency.percentile_ns(0.5) as f64 / 1e3);
        self.p99_us.push(report.latency.percentile_ns(0.99) as f64 / 1e3);
        self.misses += report.tally.misses;
    }
}

fn middle(figures: &[f64]) -> f64 {
    median(&mut figures.to_vec())
}

/// Prints a line per row and server, then the remarks.
///
/// # Errors
/// Standard output is gone.
pub(super) fn print(tables: &[(&Row, Vec<Figures>)], remarks: &[String]) -> Result<(), String> {
    let mut text = String::new();
    for (row, figures) in tables {
        write_row(&mut text, row, figures).map_err(|error| format!("cannot format the table: {error}"))?;
    }
    for remark in remarks {
        text.push_str(remark);
        text.push('\n');
    }
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| format!("cannot write the table: {error}"))
}

fn write_row(text: &mut String, row: &Row, figures: &[Figures]) -> std::fmt::Result {
    writeln!(text, "{}: {}", row.name, row.title)?;
    writeln!(text, "  server             x floor   CPU ns/key      keys/s   p50 us   p99 us")?;
    for figure in figures {
        write!(
            text,
            "  {:<18} {:>7.2} {:>12.1} {:>11.0} {:>8.1} {:>8.1}",
            figure.name,
            middle(&figure.multiple),
            middle(&figure.cpu_ns),
            middle(&figure.keys_per_s),
            middle(&figure.median_us),
            middle(&figure.p99_us),
        )?;
        if figure.misses > 0 {
            write!(text, "  ({} misses)", figure.misses)?;
        }
        writeln!(text)?;
    }
    writeln!(text)
}

/// Writes every figure.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write_json(tables: &[(&Row, Vec<Figures>)], path: &Path) -> Result<(), String> {
    let rows: Vec<String> = tables
        .iter()
        .map(|(row, figures)| {
            let servers: Vec<String> = figures.iter().map(to_json).collect();
            format!(
                "{{\"row\":\"{}\",\"title\":\"{}\",\"servers\":[{}]}}",
                row.name,
                row.title,
                servers.join(",")
            )
        })
        .collect();
    let text = format!("{{\"rows\":[{}]}}\n", rows.join(",\n"));
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn to_json(figures: &Figures) -> String {
    let rounds: Vec<String> = figures.multiple.iter().map(|multiple| format!("{multiple:.3}")).collect();
    format!(
        "{{\"server\":\"{}\",\"multiple\":{:.3},\"cpu_ns\":{:.1},\"keys_per_s\":{:.0},\"p50_us\":{:.1},\
         \"p99_us\":{:.1},\"misses\":{},\"multiples\":[{}]}}",
        figures.name.replace(['"', '\\'], "_"),
        middle(&figures.multiple),
        middle(&figures.cpu_ns),
        middle(&figures.keys_per_s),
        middle(&figures.median_us),
        middle(&figures.p99_us),
        figures.misses,
        rounds.join(","),
    )
}
