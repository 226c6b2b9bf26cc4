//! A drawing, and scales to draw on. Colours are classes: the page says what they look like.

use std::fmt::Write;

/// A drawing that grows element by element.
#[derive(Debug)]
pub(crate) struct Svg {
    width: f64,
    height: f64,
    title: String,
    body: String,
}

/// Where a text is held.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    pub(crate) fn new(width: f64, height: f64, title: &str) -> Self {
        Self { width, height, title: title.to_owned(), body: String::new() }
    }

    pub(crate) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.push(format_args!(
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        ));
    }

    pub(crate) fn rectangle(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        self.push(format_args!(
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#
        ));
    }

    pub(crate) fn circle(&mut self, class: &str, (x, y): (f64, f64), radius: f64) {
        self.push(format_args!(r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{radius:.1}"/>"#));
    }

    /// A path through these points; closed, it is an area.
    pub(crate) fn path(&mut self, class: &str, points: &[(f64, f64)], is_closed: bool) {
        let mut path = String::new();
        for (at, (x, y)) in points.iter().enumerate() {
            let step = if at == 0 { "M" } else { "L" };
            // Writing to a string does not fail.
            let _ = write!(path, "{step}{x:.1} {y:.1}");
        }
        if is_closed {
            path.push('Z');
        }
        self.push(format_args!(r#"<path class="{class}" d="{path}"/>"#));
    }

    pub(crate) fn text(&mut self, class: &str, anchor: Anchor, (x, y): (f64, f64), text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(text);
        self.push(format_args!(
            r#"<text class="{class}" text-anchor="{anchor}" x="{x:.1}" y="{y:.1}">{text}</text>"#
        ));
    }

    pub(crate) fn finish(self) -> String {
        let Self { width, height, title, body } = self;
        let title = escape(&title);
        format!(
            "<svg viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{title}\">\n<title>{title}</title>\n\
             {body}</svg>\n"
        )
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.body, "{element}");
    }
}

/// A drawing as a file of its own, which has its colours with it.
pub(crate) fn standalone(drawn: &str, style: &str) -> String {
    const BEGUN: &str =
        "<svg xmlns=\"http://www.w3.org/2000/svg\" style=\"background: var(--paper)\" viewBox";

    let style = format!("</title>\n<style>{style}</style>\n");
    drawn.replacen("<svg viewBox", BEGUN, 1).replacen("</title>\n", &style, 1)
}

/// For HTML and SVG alike.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Where a value stands on an axis along which equal factors are equally far apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogScale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl LogScale {
    /// For all these values, drawn between two places.
    pub(crate) fn over(values: impl IntoIterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for value in values.into_iter().filter(|value| value.is_finite() && *value > 0.0) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (1.0, 1.0);
        }
        // Room at both ends, and something to divide where all are equal.
        let room = (high / low).powf(0.04).max(1.02);
        Self { low: low / room, high: high * room, from, to }
    }

    pub(crate) fn at(&self, value: f64) -> f64 {
        let share = (value / self.low).ln() / (self.high / self.low).ln();
        self.from + share * (self.to - self.from)
    }

    /// Round values to mark: few, but at least three where that can be.
    pub(crate) fn ticks(&self) -> Vec<f64> {
        let steps: [&[f64]; 6] = [
            &[1.0],
            &[1.0, 3.0],
            &[1.0, 2.0, 5.0],
            &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
            &[1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0],
            &[
                1.0, 1.05, 1.1, 1.15, 1.2, 1.3, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 8.5,
                9.0, 9.5,
            ],
        ];
        let mut ticks = Vec::new();
        for steps in steps {
            ticks = (-6..=9)
                .flat_map(|decade| steps.iter().map(move |step| step * 10.0_f64.powi(decade)))
                .filter(|tick| (self.low..=self.high).contains(tick))
                .collect();
            if ticks.len() >= 3 {
                break;
            }
        }
        ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_factors_are_equally_far_apart() {
        let scale = LogScale::over([1.0, 100.0], 0.0, 100.0);
        assert!((scale.at(10.0) - 50.0).abs() < 1e-9);
        assert!(scale.at(1.0) > 0.0 && scale.at(100.0) < 100.0);
    }

    #[test]
    fn ticks_are_round_and_within() {
        assert_eq!(LogScale::over([0.5, 700.0], 0.0, 1.0).ticks(), [1.0, 10.0, 100.0]);
        // No more than can be read beside each other.
        assert_eq!(LogScale::over([15.0, 85.0], 0.0, 1.0).ticks(), [15.0, 20.0, 30.0, 50.0, 70.0]);
        let narrow = LogScale::over([0.98, 1.12], 0.0, 1.0).ticks();
        assert!(narrow.contains(&1.0) && narrow.len() >= 3, "{narrow:?}");
        assert!(LogScale::over([], 0.0, 1.0).ticks().contains(&1.0));
    }

    #[test]
    fn a_text_cannot_become_an_element() {
        let mut svg = Svg::new(10.0, 10.0, "a & b");
        svg.text("label", Anchor::Start, (0.0, 0.0), "<script>");
        let drawn = svg.finish();
        assert!(drawn.contains("&lt;script&gt;") && drawn.contains("a &amp; b"), "{drawn}");
    }
}
