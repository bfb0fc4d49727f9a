//! A bar chart of the means: one group of bars per memory size, one bar per engine.

use std::io::{self, Write};

use super::engine::Engine;
use super::number::real;
use super::report::{REQUEST_HITS, means};
use super::run::Row;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 420.0;
/// Room around the bars: left, top, right, bottom.
const MARGIN: [f64; 4] = [50.0, 40.0, 130.0, 40.0];
/// One colour per engine, used in turn.
const COLOURS: [&str; 10] = [
    "#c7c7c7", "#9e9e9e", "#7a9cc6", "#4f7cac", "#2a5b8c", "#8a6fb0", "#d98c3f", "#8fc29b", "#2f9e57",
    "#222222",
];

/// Writes the chart.
pub(crate) fn chart(out: &mut dyn Write, engines: &[Engine], rows: &[Row]) -> io::Result<()> {
    let mut sizes: Vec<f64> = rows.iter().map(|row| row.memory).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    let [left, top, right, bottom] = MARGIN;
    let (inner_width, inner_height) = (WIDTH - left - right, HEIGHT - top - bottom);
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<text x=\"{left}\" y=\"20\" font-size=\"15\">Mean request hits by memory \
         (percent of the footprint)</text>"
    )?;
    for percent in [0_u32, 20, 40, 60, 80, 100] {
        let y = top + inner_height * (1.0 - f64::from(percent) / 100.0);
        let end = WIDTH - right;
        writeln!(
            out,
            "<path d=\"M{left} {y}H{end}\" stroke=\"#ddd\"/><text x=\"10\" y=\"{y}\">{percent} %</text>"
        )?;
    }
    let group_width = inner_width / real(sizes.len().max(1) as u64);
    let bar_width = group_width * 0.85 / real(engines.len().max(1) as u64);
    let mut x = left;
    for size in sizes {
        let group: Vec<&Row> = rows.iter().filter(|row| row.memory.total_cmp(&size).is_eq()).collect();
        let mut bar_x = x;
        for (mean, colour) in means(&group, REQUEST_HITS.1).iter().zip(COLOURS.iter().cycle()) {
            let height = inner_height * mean / 100.0;
            let y = top + inner_height - height;
            writeln!(
                out,
                "<rect x=\"{bar_x:.1}\" y=\"{y:.1}\" width=\"{bar_width:.1}\" height=\"{height:.1}\" \
                 fill=\"{colour}\"><title>{mean:.2} %</title></rect>"
            )?;
            bar_x += bar_width;
        }
        let (label_x, label_y) = (x + group_width * 0.4, HEIGHT - 15.0);
        writeln!(out, "<text x=\"{label_x:.1}\" y=\"{label_y}\">{size} %</text>")?;
        x += group_width;
    }
    legend(out, engines)?;
    writeln!(out, "</svg>")
}

fn legend(out: &mut dyn Write, engines: &[Engine]) -> io::Result<()> {
    let x = WIDTH - MARGIN[2] + 15.0;
    let mut y = MARGIN[1];
    for (engine, colour) in engines.iter().zip(COLOURS.iter().cycle()) {
        let (text_x, text_y) = (x + 18.0, y + 10.0);
        writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\
             <text x=\"{text_x}\" y=\"{text_y}\">{}</text>",
            engine.name
        )?;
        y += 20.0;
    }
    Ok(())
}
