//! The figures of a comparison as a table for people and as JSON for programs.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use super::latency::Latency;
use super::rows::Row;
use crate::load::Report;
use crate::machine::median;

/// The most that two measurements of one multiple may differ, in parts of the first.
const AGREEMENT: f64 = 0.1;

/// What was measured of a row.
pub(super) struct Measured<'a> {
    pub(super) row: &'a Row,
    pub(super) figures: Vec<Figures>,
    /// At fixed rates of arrival.
    pub(super) latencies: Vec<Latency>,
}

/// What one server gave in one row, a figure per round.
pub(super) struct Figures {
    pub(super) name: String,
    /// Whether two measurements have to agree.
    is_judged: bool,
    cpu_ns: Vec<f64>,
    multiple: Vec<f64>,
    keys_per_s: Vec<f64>,
    median_us: Vec<f64>,
    p99_us: Vec<f64>,
    misses: u64,
    /// Requests answered by an error line.
    refusals: u64,
}

impl Figures {
    pub(super) fn new(name: &str, is_judged: bool) -> Self {
        Self {
            name: name.to_owned(),
            is_judged,
            cpu_ns: Vec::new(),
            multiple: Vec::new(),
            keys_per_s: Vec::new(),
            median_us: Vec::new(),
            p99_us: Vec::new(),
            misses: 0,
            refusals: 0,
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
        self.refusals += report.tally.errors;
    }

    /// Processor time per key, as a multiple of the floor's.
    pub(super) fn multiple(&self) -> f64 {
        middle(&self.multiple)
    }

    /// What the multiple may be off by, in parts of it: its standard error as that of a median, by the figures that are
    /// half the root of their number before the middle and behind it. 0 where two measurements need not agree.
    pub(super) fn error(&self) -> f64 {
        if !self.is_judged {
            return 0.0;
        }
        let mut figures = self.multiple.clone();
        figures.sort_by(f64::total_cmp);
        let (half, apart) = (figures.len() / 2, figures.len().isqrt().div_ceil(2));
        match (figures.get(half.saturating_sub(apart)), figures.get(half + apart)) {
            (Some(low), Some(high)) => (high - low) / 2.0 / middle(&figures),
            _ => 0.0,
        }
    }

    /// Keys that were asked for and not there.
    pub(super) fn misses(&self) -> u64 {
        self.misses
    }

    /// Keys answered in a second of a closed loop.
    pub(super) fn keys_per_s(&self) -> f64 {
        middle(&self.keys_per_s)
    }
}

fn middle(figures: &[f64]) -> f64 {
    median(&mut figures.to_vec())
}

/// Prints a line per server of a row.
///
/// # Errors
/// Standard output is gone.
pub(super) fn print_row(measured: &Measured<'_>) -> Result<(), String> {
    let mut text = String::new();
    write_row(&mut text, measured).map_err(|error| format!("cannot format the table: {error}"))?;
    put(&text)
}

/// Prints what is to be said below the table.
///
/// # Errors
/// Standard output is gone.
pub(super) fn print_remarks(remarks: &[String]) -> Result<(), String> {
    remarks.iter().try_for_each(|remark| put(&format!("{remark}\n")))
}

fn put(text: &str) -> Result<(), String> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| format!("cannot write the table: {error}"))
}

/// Prints what a second measurement gave, and whether it agrees with the first wherever mmem is judged.
///
/// # Errors
/// Standard output is gone.
pub(super) fn print_difference(first: &[Measured<'_>], second: &[Measured<'_>]) -> Result<bool, String> {
    let mut text = String::from("a second measurement, multiples of the floor\n");
    let mut agree = true;
    for (first, second) in first.iter().zip(second) {
        for (before, after) in first.figures.iter().zip(&second.figures) {
            let (before_multiple, after_multiple) = (before.multiple(), after.multiple());
            let difference = after_multiple / before_multiple - 1.0;
            let beyond = before.is_judged && !agree_by(difference);
            agree &= !beyond;
            let mark = if beyond { "  TOO FAR" } else { "" };
            let line = format!(
                "  {:<14} {:<18} {before_multiple:>7.2} {after_multiple:>7.2} {:>+6.1} %{mark}\n",
                first.row.name,
                before.name,
                difference * 100.0,
            );
            text.push_str(&line);
        }
    }
    put(&text).map(|()| agree)
}

/// Whether two measurements agree that differ by so much; no number agrees with none.
fn agree_by(difference: f64) -> bool {
    difference.abs() <= AGREEMENT
}

fn write_row(text: &mut String, measured: &Measured<'_>) -> std::fmt::Result {
    let Measured { row, figures, latencies } = measured;
    writeln!(text, "{}: {}", row.name, row.title)?;
    writeln!(text, "  server             x floor   CPU ns/key      keys/s   p50 us   p99 us")?;
    for figure in figures {
        write!(
            text,
            "  {:<18} {:>7.2} {:>12.1} {:>11.0} {:>8.1} {:>8.1}",
            figure.name,
            figure.multiple(),
            middle(&figure.cpu_ns),
            figure.keys_per_s(),
            middle(&figure.median_us),
            middle(&figure.p99_us),
        )?;
        for (count, what) in [(figure.misses, "misses"), (figure.refusals, "refusals")] {
            if count > 0 {
                write!(text, "  ({count} {what})")?;
            }
        }
        writeln!(text)?;
    }
    if let Some(first) = latencies.first() {
        writeln!(
            text,
            "  at fixed rates     keys/s due   p50 us   p99 us p99.9 us   of all  waited ms  ({})",
            first.terms
        )?;
    }
    for latency in latencies {
        let [median, p99, p999] = latency.percentiles_us();
        writeln!(
            text,
            "  {:<18} {:>10.0} {median:>8.1} {p99:>8.1} {p999:>8.1} {:>8.1} {:>10.2}{}",
            latency.name,
            latency.rate,
            latency.p999_us_of_all(),
            latency.waited_ms(),
            latency.shortfall(),
        )?;
    }
    writeln!(text)
}

/// Writes every figure.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write_json(tables: &[Measured<'_>], path: &Path) -> Result<(), String> {
    let rows: Vec<String> = tables
        .iter()
        .map(|Measured { row, figures, latencies }| {
            let servers: Vec<String> = figures.iter().map(to_json).collect();
            let paced: Vec<String> = latencies.iter().map(Latency::to_json).collect();
            format!(
                "{{\"row\":\"{}\",\"title\":\"{}\",\"servers\":[{}],\"paced\":[{}]}}",
                row.name,
                row.title,
                servers.join(","),
                paced.join(","),
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
         \"p99_us\":{:.1},\"misses\":{},\"refusals\":{},\"multiples\":[{}]}}",
        figures.name.replace(['"', '\\'], "_"),
        middle(&figures.multiple),
        middle(&figures.cpu_ns),
        middle(&figures.keys_per_s),
        middle(&figures.median_us),
        middle(&figures.p99_us),
        figures.misses,
        figures.refusals,
        rounds.join(","),
    )
}

#[cfg(test)]
mod tests {
    use super::{Figures, agree_by};

    #[test]
    fn the_error_of_a_median_is_half_of_what_lies_about_it() {
        let mut figures = Figures::new("mmem", true);
        figures.multiple = vec![1.0, 9.0, 2.0, 8.0, 3.0, 7.0, 4.0, 6.0, 5.0];
        assert_eq!(figures.error().to_bits(), (2.0_f64 / 5.0).to_bits());
        figures.is_judged = false;
        assert_eq!(figures.error().to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn what_is_no_number_agrees_with_nothing() {
        assert!(agree_by(0.05) && agree_by(-0.1) && !agree_by(-0.11));
        assert!(!agree_by(f64::NAN) && !agree_by(f64::INFINITY));
    }
}
