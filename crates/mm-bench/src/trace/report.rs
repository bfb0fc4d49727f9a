//! What a run prints and writes: tables, means, JSON.

use std::io::{self, Write};

use super::engine::{Engine, Role};
use super::number::real;
use super::run::Row;
use super::simulate::Outcome;
use super::source::Family;

/// A figure of an outcome and what it is called.
pub(crate) type Figure = (&'static str, fn(&Outcome) -> f64);

/// Hits per read.
pub(crate) const REQUEST_HITS: Figure = ("request hits %", |outcome| 100.0 * outcome.hit_ratio());
/// Bytes hit per byte read.
pub(crate) const BYTE_HITS: Figure = ("byte hits %", |outcome| 100.0 * outcome.byte_hit_ratio());
/// Bytes copied by the engine per byte written by clients.
pub(crate) const COPIES: Figure = ("copied/written", Outcome::copy_ratio);

/// The widest trace name.
const NAME_WIDTH: usize = 34;

/// The line above the rows.
pub(crate) fn header(out: &mut dyn Write, engines: &[Engine]) -> io::Result<()> {
    write!(out, "{:NAME_WIDTH$} {:>5} {:>7}", "trace", "mem %", "MiB")?;
    for engine in engines {
        write!(out, " {:>9}", engine.name)?;
    }
    writeln!(out)
}

/// One row: request hits in percent.
pub(crate) fn row(out: &mut dyn Write, row: &Row) -> io::Result<()> {
    let mib = real(row.limit_bytes) / real(1 << 20);
    write!(out, "{:NAME_WIDTH$} {:5} {mib:7.1}", row.trace, row.memory)?;
    for outcome in &row.outcomes {
        write!(out, " {:9.2}", 100.0 * outcome.hit_ratio())?;
    }
    writeln!(out)
}

/// The mean over the rows for each engine.
pub(crate) fn means(rows: &[&Row], figure: fn(&Outcome) -> f64) -> Vec<f64> {
    let engines = rows.first().map_or(0, |row| row.outcomes.len());
    let count = real(rows.len() as u64);
    (0..engines)
        .map(|engine| rows.iter().map(|row| figure(&row.outcomes[engine])).sum::<f64>() / count)
        .collect()
}

/// Means of all rows and of each family, and how ours compares.
pub(crate) fn summary(out: &mut dyn Write, engines: &[Engine], rows: &[Row]) -> io::Result<()> {
    writeln!(out)?;
    write!(out, "{:NAME_WIDTH$} {:>5} {:>7}", "means", "rows", "")?;
    engines.iter().try_for_each(|engine| write!(out, " {:>9}", engine.name))?;
    writeln!(out)?;
    let all: Vec<&Row> = rows.iter().collect();
    for (name, figure) in [REQUEST_HITS, BYTE_HITS, COPIES] {
        mean_line(out, name, &all, figure)?;
    }
    for family in Family::ALL {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.family == family).collect();
        mean_line(out, &format!("request hits %, {family}"), &rows, REQUEST_HITS.1)?;
    }
    comparison(out, engines, rows)
}

fn mean_line(out: &mut dyn Write, name: &str, rows: &[&Row], figure: fn(&Outcome) -> f64) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    write!(out, "{name:NAME_WIDTH$} {:5} {:7}", rows.len(), "")?;
    means(rows, figure).iter().try_for_each(|mean| write!(out, " {mean:9.2}"))?;
    writeln!(out)
}

/// On how many rows ours is at or above memcached and the best simple policy, and where it is furthest below.
fn comparison(out: &mut dyn Write, engines: &[Engine], rows: &[Row]) -> io::Result<()> {
    let of = |role: Role| engines.iter().position(|engine| engine.role == role);
    let (Some(ours), Some(memcached)) = (of(Role::Ours), of(Role::Memcached)) else { return Ok(()) };
    let simple: Vec<usize> =
        (0..engines.len()).filter(|&engine| engines[engine].role == Role::Simple).collect();
    let hits = |row: &Row, engine: usize| 100.0 * row.outcomes[engine].hit_ratio();
    let best = |row: &Row| simple.iter().map(|&engine| hits(row, engine)).fold(0.0, f64::max);
    for name in ["memcached", "the best simple policy of each row"] {
        let other = |row| if name == "memcached" { hits(row, memcached) } else { best(row) };
        let mut gaps: Vec<(f64, &Row)> = rows.iter().map(|row| (hits(row, ours) - other(row), row)).collect();
        gaps.sort_by(|one, other| one.0.total_cmp(&other.0));
        let above = gaps.iter().filter(|gap| gap.0 >= 0.0).count();
        writeln!(out, "ours is at or above {name} on {above} of {} rows; furthest below:", rows.len())?;
        for (gap, row) in gaps.iter().take(5).take_while(|gap| gap.0 < 0.0) {
            writeln!(out, "  {:NAME_WIDTH$} {:5} {gap:8.2}", row.trace, row.memory)?;
        }
    }
    Ok(())
}

/// Everything as JSON: a list of objects, one per trace, memory size and engine.
pub(crate) fn json(out: &mut dyn Write, engines: &[Engine], rows: &[Row]) -> io::Result<()> {
    writeln!(out, "[")?;
    let mut separator = "";
    for row in rows {
        for (engine, outcome) in engines.iter().zip(&row.outcomes) {
            write!(
                out,
                "{separator}{{\"trace\": \"{}\", \"memory_percent\": {}, \"limit_bytes\": {}, \"engine\": \"{}\", \
                 \"reads\": {}, \"hits\": {}, \"read_bytes\": {}, \"hit_bytes\": {}, \"written_bytes\": {}, \
                 \"copied_bytes\": {}}}",
                row.trace,
                row.memory,
                row.limit_bytes,
                engine.name,
                outcome.reads,
                outcome.hits,
                outcome.read_bytes,
                outcome.hit_bytes,
                outcome.written_bytes,
                outcome.copied_bytes,
            )?;
            separator = ",\n";
        }
    }
    writeln!(out, "\n]")
}

/// The study: one line per variant, its means and how far they are from the first one's.
pub(crate) fn study(out: &mut dyn Write, engines: &[Engine], rows: &[Row]) -> io::Result<()> {
    let all: Vec<&Row> = rows.iter().collect();
    let [requests, bytes, copies] = [REQUEST_HITS, BYTE_HITS, COPIES].map(|figure| means(&all, figure.1));
    writeln!(out, "\n{:24} {:>9} {:>7} {:>9} {:>9}", "variant", "requests", "+-", "bytes", "copies")?;
    for (position, engine) in engines.iter().enumerate() {
        let difference = requests[position] - requests[0];
        writeln!(
            out,
            "{:24} {:9.2} {difference:+7.2} {:9.2} {:9.2}",
            engine.name, requests[position], bytes[position], copies[position]
        )?;
    }
    Ok(())
}
