//! A bar chart of the multiples: a group of bars per row, a bar per server, on a logarithmic scale.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::report::Measured;

const WIDTH: f64 = 1_000.0;
const BAR_HEIGHT: f64 = 14.0;
const TITLE_HEIGHT: f64 = 30.0;
/// Room for names at the left, for figures at the right, and for the scale at the top.
const LEFT: f64 = 190.0;
const RIGHT: f64 = 60.0;
const TOP: f64 = 60.0;
/// The multiples at the two ends of the scale.
const LOW: f64 = 0.5;
const HIGH: f64 = 64.0;
/// Lines of the scale.
const GRID: [f64; 7] = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0];

/// Writes the chart.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write(tables: &[Measured<'_>], path: &Path) -> Result<(), String> {
    let text = draw(tables).map_err(|error| format!("cannot draw the chart: {error}"))?;
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn draw(tables: &[Measured<'_>]) -> Result<String, std::fmt::Error> {
    let bars: usize = tables.iter().map(|measured| measured.figures.len()).sum();
    let height = TOP + bars as f64 * BAR_HEIGHT + tables.len() as f64 * TITLE_HEIGHT + 20.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"20\" font-size=\"15\">Processor time per key, as a multiple of the canned epoll floor\
         </text>\n"
    );
    for multiple in GRID {
        let x = place(multiple);
        writeln!(
            text,
            "<path d=\"M{x:.1} {TOP}V{height}\" stroke=\"#ddd\"/><text x=\"{x:.1}\" y=\"{}\">{multiple}</text>",
            TOP - 8.0
        )?;
    }
    let mut y = TOP;
    for measured in tables {
        let title = measured.row.title;
        writeln!(text, "<text x=\"10\" y=\"{:.1}\" font-weight=\"bold\">{title}</text>", y + 20.0)?;
        y += TITLE_HEIGHT;
        for figures in &measured.figures {
            bar(&mut text, &figures.name, figures.multiple(), y)?;
            y += BAR_HEIGHT;
        }
    }
    text.push_str("</svg>\n");
    Ok(text)
}

fn bar(text: &mut String, name: &str, multiple: f64, y: f64) -> std::fmt::Result {
    let colour = match name {
        _ if name.contains("mmem") => "#2a5b8c",
        _ if name.contains("canned") => "#c7c7c7",
        _ => "#d98c3f",
    };
    let name = name.replace(['<', '>', '&'], "_");
    let (start, end, base) = (place(LOW), place(multiple), y + BAR_HEIGHT - 3.0);
    writeln!(
        text,
        "<text x=\"30\" y=\"{base:.1}\">{name}</text><rect x=\"{start:.1}\" y=\"{y:.1}\" width=\"{:.1}\" \
         height=\"{:.1}\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{base:.1}\">{multiple:.2}</text>",
        end - start,
        BAR_HEIGHT - 2.0,
        end + 4.0,
    )
}

/// Where on the scale a multiple stands.
fn place(multiple: f64) -> f64 {
    let share = (multiple.clamp(LOW, HIGH) / LOW).log2() / (HIGH / LOW).log2();
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_even_in_doublings_and_ends_at_its_ends() {
        assert!((place(1.0) - place(LOW) - (place(2.0) - place(1.0))).abs() < 1e-9);
        assert!((place(1_000.0) - place(HIGH)).abs() < 1e-9);
        assert!((place(0.0) - LEFT).abs() < 1e-9);
    }
}
