//! Charts of lines: a figure over sizes, both on logarithmic scales, with the names at the ends of the lines.

use super::statistics::Estimate;
use super::svg::{Anchor, LogScale, Svg};
use super::words;

/// One line.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// A colour, or how else it is drawn: a class of the page.
    pub(crate) class: String,
    /// By size.
    pub(crate) points: Vec<Point>,
}

/// One point of a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub(crate) size: usize,
    pub(crate) estimate: Estimate,
    /// Fewer requests were in flight than the size says.
    pub(crate) is_hollow: bool,
}

const WIDTH: f64 = 400.0;
const LEFT: f64 = 42.0;
const RIGHT: f64 = 242.0;
const NAMES: f64 = 260.0;
const TOP: f64 = 14.0;
const FLOOR: f64 = 370.0;
/// Below it: the sizes, and what they count.
const BOTTOM: f64 = 40.0;
/// The axis of values reaches at least so far from its middle, as a factor.
const LEAST_REACH: f64 = 2.0;
/// Between one name and the next.
const GAP: f64 = 14.0;

/// So narrow that a telephone shows it whole.
pub(crate) fn chart(title: &str, sizes: &[usize], axis: &str, lines: &[Line]) -> String {
    // However many lines: there is room for their names.
    let floor = FLOOR.max(TOP + GAP * lines.len() as f64);
    let mut svg = Svg::new(WIDTH, floor + BOTTOM, title);
    let x = LogScale::over(sizes.iter().map(|size| *size as f64), LEFT, RIGHT);
    let points = || lines.iter().flat_map(|line| &line.points);
    let ends: Vec<f64> = points().flat_map(|point| [point.estimate.low, point.estimate.high]).collect();
    let (low, high) =
        ends.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), end| (low.min(*end), high.max(*end)));
    // A small difference is to look small.
    let middle = (low * high).sqrt();
    let y = LogScale::over(ends.into_iter().chain([middle / LEAST_REACH, middle * LEAST_REACH]), floor, TOP);

    for tick in y.ticks() {
        let height = y.at(tick);
        svg.line("grid", (LEFT, height), (RIGHT, height));
        svg.text("tick", Anchor::End, (LEFT - 6.0, height + 4.0), &short(tick));
    }
    for size in sizes {
        svg.text("tick", Anchor::Middle, (x.at(*size as f64), floor + 16.0), &size.to_string());
    }
    svg.text("tick", Anchor::Middle, ((LEFT + RIGHT) / 2.0, floor + 34.0), axis);

    let place = |point: &Point| (x.at(point.size as f64), y.at(point.estimate.center));
    for line in lines {
        let places: Vec<(f64, f64)> = line.points.iter().map(place).collect();
        svg.path(&format!("curve {}", line.class), &places, false);
        for point in &line.points {
            let (x, height) = place(point);
            let (low, high) = (y.at(point.estimate.low), y.at(point.estimate.high));
            svg.line(&format!("interval {}", line.class), (x, low), (x, high));
            let mark = if point.is_hollow { "hollow" } else { "full" };
            svg.circle(&format!("{mark} {}", line.class), (x, height), 3.0);
        }
    }
    let ends: Vec<(&Line, (f64, f64))> =
        lines.iter().filter_map(|line| Some((line, place(line.points.last()?)))).collect();
    let heights: Vec<f64> = ends.iter().map(|(_, (_, height))| *height).collect();
    for ((line, (x, height)), named) in ends.iter().zip(apart(&heights, GAP, TOP, floor)) {
        svg.line(&format!("leader {}", line.class), (x + 5.0, *height), (NAMES - 4.0, named));
        svg.text(&format!("end {}", line.class), Anchor::Start, (NAMES, named + 4.0), &line.name);
    }
    svg.finish()
}

/// A round number in few characters.
fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", words::tick(value / 1e6)),
        value if value >= 1e3 => format!("{} k", words::tick(value / 1e3)),
        _ => words::tick(value),
    }
}

/// As near to where they want to be as can be, at least `gap` from each other, and between `top` and `floor` if there is room.
fn apart(wanted: &[f64], gap: f64, top: f64, floor: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|one, other| wanted[*one].total_cmp(&wanted[*other]));
    // Less the gaps above it, each has to be where the one above it is or further down: those that are not become a block,
    // which is where they want to be on average.
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    for (place, index) in order.iter().enumerate() {
        let mut block = (wanted[*index] - gap * place as f64, 1);
        while let Some(above) = blocks.pop_if(|above| above.0 > block.0) {
            let count = above.1 + block.1;
            block = ((above.0 * above.1 as f64 + block.0 * block.1 as f64) / count as f64, count);
        }
        blocks.push(block);
    }
    let lowest = floor - gap * wanted.len().saturating_sub(1) as f64;
    let starts =
        blocks.iter().flat_map(|(start, count)| std::iter::repeat_n(start.min(lowest).max(top), *count));
    let mut places = vec![0.0; wanted.len()];
    for ((place, index), start) in order.iter().enumerate().zip(starts) {
        places[*index] = start + gap * place as f64;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_where_there_is_room_and_move_apart_where_there_is_none() {
        assert_eq!(apart(&[50.0, 10.0], 10.0, 0.0, 100.0), [50.0, 10.0]);
        // In their order, around where both want to be.
        assert_eq!(apart(&[52.0, 48.0], 10.0, 0.0, 100.0), [55.0, 45.0]);
        assert_eq!(apart(&[50.0, 50.0, 50.0], 10.0, 0.0, 100.0), [40.0, 50.0, 60.0]);
        // Not beyond the ends.
        assert_eq!(apart(&[1.0, 1.0, 1.0], 10.0, 0.0, 100.0), [0.0, 10.0, 20.0]);
        assert_eq!(apart(&[99.0, 99.0], 10.0, 0.0, 100.0), [90.0, 100.0]);
        assert!(apart(&[], 10.0, 0.0, 100.0).is_empty());
    }

    #[test]
    fn a_number_on_the_axis_is_short() {
        assert_eq!([0.5, 20.0, 1000.0, 250_000.0, 2e6].map(short), ["0.5", "20", "1 k", "250 k", "2 M"]);
    }
}
