//! Charts of dots: a row for each entry, and in it a mark for each of several ways, on a logarithmic scale.

use crate::report::chart::{LEFT, RIGHT, WIDTH};
use crate::report::statistics::Estimate;
use crate::report::svg::{Anchor, LogScale, Svg};
use crate::report::words;

/// A row of marks.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// The way's place among all, and its value.
    pub(crate) marks: Vec<(usize, Estimate)>,
    /// Ways in which fewer requests were in flight than the others had.
    pub(crate) hollow: Vec<usize>,
}

const TOP: f64 = 40.0;
const ROW: f64 = 26.0;
const BOTTOM: f64 = 14.0;

/// `unit` follows each number on the axis.
pub(crate) fn chart(title: &str, unit: &str, rows: &[Row]) -> String {
    let height = TOP + ROW * rows.len() as f64 + BOTTOM;
    let mut svg = Svg::new(WIDTH, height, title);
    let all = rows.iter().flat_map(|row| &row.marks);
    let scale = LogScale::over(all.flat_map(|(_, value)| [value.low, value.high]), LEFT, RIGHT);
    for tick in scale.ticks() {
        let x = scale.at(tick);
        svg.line("grid", (x, TOP - 6.0), (x, height - BOTTOM));
        svg.text("tick", Anchor::Middle, (x, TOP - 12.0), format!("{} {unit}", words::tick(tick)).trim_end());
    }
    for (at, row) in rows.iter().enumerate() {
        let y = TOP + ROW * (at as f64 + 0.5);
        svg.text("name", Anchor::End, (LEFT - 14.0, y + 4.5), &row.name);
        let places = || row.marks.iter().map(|(_, value)| scale.at(value.center));
        let (from, to) = (places().fold(f64::INFINITY, f64::min), places().fold(0.0, f64::max));
        if from < to {
            svg.line("span", (from, y), (to, y));
        }
        for (way, value) in &row.marks {
            svg.line(&format!("interval hue{way}"), (scale.at(value.low), y), (scale.at(value.high), y));
            let kind = if row.hollow.contains(way) { "hollow" } else { "full" };
            mark(&mut svg, kind, *way, (scale.at(value.center), y));
        }
        let values: Vec<String> = row.marks.iter().map(|(_, value)| words::number(value.center)).collect();
        svg.text("value", Anchor::Start, (RIGHT + 12.0, y + 4.5), &values.join("  ·  "));
    }
    svg.finish()
}

/// A mark alone, for a legend.
pub(crate) fn key(way: usize, name: &str) -> String {
    let mut svg = Svg::new(16.0, 16.0, name);
    mark(&mut svg, "full", way, (8.0, 8.0));
    svg.finish()
}

/// Each way has a colour and a shape.
fn mark(svg: &mut Svg, kind: &str, way: usize, (x, y): (f64, f64)) {
    let class = format!("{kind} hue{way}");
    match way % 4 {
        0 => svg.circle(&class, (x, y), 5.0),
        1 => svg.rectangle(&class, (x - 4.5, y - 4.5), (9.0, 9.0)),
        2 => svg.path(&class, &[(x, y - 6.5), (x + 6.5, y), (x, y + 6.5), (x - 6.5, y)], true),
        _ => svg.path(&class, &[(x, y - 6.0), (x + 6.0, y + 5.0), (x - 6.0, y + 5.0)], true),
    }
}
