//! `--junit`: a test suite for each chapter. A recommendation that is not followed is shown as skipped, not as failed.

use std::fmt::Write as _;

use fcgi_verify::{Case, CaseReport, Outcome, chapters};

use super::{Ran, is_binding_failure};

/// The whole document.
pub(crate) fn document(ran: &[Ran]) -> String {
    let mut text =
        String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"fcgi-verify\">\n");
    for chapter in chapters() {
        let rows: Vec<&Ran> = ran.iter().filter(|(case, _)| case.chapter == chapter).collect();
        if !rows.is_empty() {
            suite(&mut text, chapter, &rows);
        }
    }
    text.push_str("</testsuites>\n");
    text
}

fn suite(text: &mut String, chapter: &str, rows: &[&Ran]) {
    let failures = rows.iter().filter(|(case, report)| is_binding_failure(case, report)).count();
    let skipped = rows.iter().filter(|(case, report)| skipped(case, report).is_some()).count();
    let seconds: f64 = rows.iter().map(|(_, report)| report.elapsed.as_secs_f64()).sum();
    let _ = writeln!(
        text,
        "  <testsuite name=\"{chapter}\" tests=\"{}\" failures=\"{failures}\" skipped=\"{skipped}\" time=\"{seconds:.3}\">",
        rows.len()
    );
    for (case, report) in rows {
        test(text, case, report);
    }
    text.push_str("  </testsuite>\n");
}

fn test(text: &mut String, case: &Case, report: &CaseReport) {
    let _ = writeln!(
        text,
        "    <testcase classname=\"fcgi-verify.{}\" name=\"{}\" time=\"{:.3}\">",
        case.chapter,
        case.name,
        report.elapsed.as_secs_f64()
    );
    if let Some(reason) = skipped(case, report) {
        let _ = writeln!(text, "      <skipped message=\"{}\"/>", escaped(&reason));
    } else if let Outcome::Failed(why) = &report.outcome {
        let _ = writeln!(
            text,
            "      <failure message=\"{}\" type=\"{}\">asked ({}): {}\n{}</failure>",
            escaped(why),
            case.level,
            case.section,
            escaped(case.asks),
            escaped(&report.transcript)
        );
    } else if let Outcome::Reported(what) = &report.outcome {
        let _ = writeln!(text, "      <system-out>{}</system-out>", escaped(what));
    }
    text.push_str("    </testcase>\n");
}

fn skipped(case: &Case, report: &CaseReport) -> Option<String> {
    match &report.outcome {
        Outcome::NotApplicable(reason) => Some(format!("not applicable: {reason}")),
        Outcome::Failed(why) if !is_binding_failure(case, report) => {
            Some(format!("{}, not met: {why}", case.level))
        }
        _ => None,
    }
}

/// XML 1.0 has no way to write most control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(character),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fcgi_verify::cases;

    use super::*;

    #[test]
    fn what_xml_forbids_is_escaped() {
        assert_eq!(escaped("a<b & \"c\"\u{1}\n"), "a&lt;b &amp; &quot;c&quot;\u{fffd}\n");
    }

    #[test]
    fn only_binding_failures_are_failures() {
        let report = |outcome| CaseReport {
            outcome,
            elapsed: Duration::ZERO,
            transcript: "<x>".to_owned(),
            heard: true,
        };
        let of = |level| cases().iter().find(|case| case.level == level).unwrap();
        let ran = vec![
            (of(fcgi_verify::Level::Required), report(Outcome::Failed("a".to_owned()))),
            (of(fcgi_verify::Level::Recommended), report(Outcome::Failed("b".to_owned()))),
            (of(fcgi_verify::Level::ImplementationDefined), report(Outcome::Reported("c".to_owned()))),
        ];
        let text = document(&ran);
        assert_eq!((text.matches("<failure ").count(), text.matches("<skipped ").count()), (1, 1), "{text}");
    }
}
