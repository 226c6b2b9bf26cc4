//! `--junit`: a test suite for each chapter. A recommendation that is not followed is shown as skipped, not as failed.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use fcgi_verify::{Outcome, chapters};

use super::run::{Ran, Run};

/// Where the report goes. What is there stays until there is a new one.
#[derive(Debug)]
pub(crate) struct ReportFile {
    path: PathBuf,
    file: File,
}

impl ReportFile {
    /// # Errors
    /// If the file cannot be opened for writing.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(ReportFile { path: path.to_owned(), file })
    }

    /// # Errors
    /// If the report cannot be written.
    pub(crate) fn write(mut self, run: &Run) -> Result<()> {
        self.replace(&document(run)).with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn replace(&mut self, text: &str) -> io::Result<()> {
        // A device or a pipe has no length.
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        self.file.write_all(text.as_bytes())
    }
}

/// The whole document. Cases that were not run are shown as skipped, and why is an error of the suite `run`.
fn document(run: &Run) -> String {
    let mut text =
        String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"fcgi-verify\">\n");
    if let Some(reason) = &run.stopped {
        stopped(&mut text, reason);
    }
    for chapter in chapters() {
        suite(&mut text, chapter, run);
    }
    text.push_str("</testsuites>\n");
    text
}

fn stopped(text: &mut String, reason: &str) {
    let _ = writeln!(
        text,
        "  <testsuite name=\"run\" tests=\"1\" failures=\"0\" errors=\"1\" skipped=\"0\" time=\"0\">\n    \
         <testcase classname=\"fcgi-verify.run\" name=\"every-case-is-run\" time=\"0\">\n      \
         <error message=\"{}\"/>\n    </testcase>\n  </testsuite>",
        escaped(reason)
    );
}

fn suite(text: &mut String, chapter: &str, run: &Run) {
    let rows: Vec<&Ran> = run.ran.iter().filter(|ran| ran.case.chapter == chapter).collect();
    let not_run: Vec<_> = run.not_run().iter().filter(|case| case.chapter == chapter).collect();
    if rows.is_empty() && not_run.is_empty() {
        return;
    }
    let failures = rows.iter().filter(|ran| ran.is_binding_failure()).count();
    let skipped = rows.iter().filter(|ran| skipped(ran).is_some()).count() + not_run.len();
    let seconds: f64 = rows.iter().map(|ran| ran.report.elapsed.as_secs_f64()).sum();
    let _ = writeln!(
        text,
        "  <testsuite name=\"{chapter}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" \
         skipped=\"{skipped}\" time=\"{seconds:.3}\">",
        rows.len() + not_run.len()
    );
    for ran in rows {
        test(text, ran);
    }
    for case in not_run {
        let _ = writeln!(
            text,
            "    <testcase classname=\"fcgi-verify.{chapter}\" name=\"{}\" time=\"0\">\n      \
             <skipped message=\"not run\"/>\n    </testcase>",
            case.name
        );
    }
    text.push_str("  </testsuite>\n");
}

fn test(text: &mut String, ran: &Ran) {
    let Ran { case, report, .. } = ran;
    let _ = writeln!(
        text,
        "    <testcase classname=\"fcgi-verify.{}\" name=\"{}\" time=\"{:.3}\">",
        case.chapter,
        case.name,
        report.elapsed.as_secs_f64()
    );
    if let Some(reason) = skipped(ran) {
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

fn skipped(ran: &Ran) -> Option<String> {
    match &ran.report.outcome {
        Outcome::NotApplicable(reason) => Some(format!("not applicable: {reason}")),
        Outcome::Failed(why) if !ran.is_binding_failure() => {
            Some(format!("{}, not met: {why}", ran.case.level))
        }
        _ => None,
    }
}

/// XML 1.0 has no way to write most control characters, nor these two of Unicode that are none.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(character),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fcgi_verify::{Case, CaseReport, Level, cases};

    use super::*;

    #[test]
    fn what_xml_forbids_is_escaped() {
        assert_eq!(escaped("a<b & \"c\"\u{1}\u{ffff}\n"), "a&lt;b &amp; &quot;c&quot;\u{fffd}\u{fffd}\n");
    }

    fn of(level: Level) -> &'static Case {
        cases().iter().find(|case| case.level == level).unwrap()
    }

    fn ran(case: &'static Case, outcome: Outcome, ended_server: bool) -> Ran {
        let transcript = "<x>".to_owned();
        Ran {
            case,
            report: CaseReport { outcome, elapsed: Duration::ZERO, transcript, heard: true },
            ended_server,
        }
    }

    fn counts(run: &Run) -> [usize; 3] {
        let text = document(run);
        ["<failure ", "<skipped ", "<error "].map(|part| text.matches(part).count())
    }

    #[test]
    fn only_binding_failures_are_failures() {
        let levels = [Level::Required, Level::Recommended, Level::ImplementationDefined].map(of);
        let mut run = Run::new(levels.to_vec());
        run.ran = vec![
            ran(levels[0], Outcome::Failed("a".to_owned()), false),
            ran(levels[1], Outcome::Failed("b".to_owned()), false),
            ran(levels[2], Outcome::Reported("c".to_owned()), false),
        ];
        assert_eq!(counts(&run), [1, 1, 0]);
    }

    #[test]
    fn the_end_of_the_server_is_a_failure_at_any_level() {
        let case = of(Level::Recommended);
        let mut run = Run::new(vec![case]);
        run.ran = vec![ran(case, Outcome::Failed("b".to_owned()), true)];
        assert_eq!(counts(&run), [1, 0, 0]);
        assert!(!run.passed());
    }

    #[test]
    fn what_was_not_run_is_skipped_and_said_to_be_an_error() {
        let mut run = Run::new(cases().iter().take(3).collect());
        run.stopped = Some("enough".to_owned());
        assert_eq!(counts(&run), [0, 3, 1]);
        assert!(!run.passed());
    }
}
