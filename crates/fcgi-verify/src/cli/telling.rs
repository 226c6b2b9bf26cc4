//! Tells of a run while it goes on, and of all that is known when it ends or is ended.

use std::io::Write as _;
use std::sync::mpsc::Receiver;

use anyhow::{Result, bail};
use fcgi_verify::{Case, Target};

use super::args::Args;
use super::checker::Event;
use super::junit::ReportFile;
use super::output::Output;
use super::progress::Progress;
use super::run::{Ran, Run};
use super::{json, signals, text};

pub(crate) struct Telling<'a> {
    args: &'a Args,
    run: Run,
    running: Option<&'static Case>,
    progress: Progress,
    output: Output,
    junit: Option<ReportFile>,
}

impl<'a> Telling<'a> {
    pub(crate) fn new(args: &'a Args, cases: Vec<&'static Case>) -> Self {
        let progress = Progress::new(cases.len(), args.json);
        let run = Run::new(cases);
        Telling { args, run, running: None, progress, output: Output::default(), junit: None }
    }

    /// Follows the run until it ends, a signal ends it, or nobody can be told any more; the signal, if it was one.
    ///
    /// # Errors
    /// If there was no run: then there is nothing to tell.
    pub(crate) fn follow(&mut self, events: &Receiver<Event>) -> Result<Option<i32>> {
        while self.run.stopped.is_none() {
            let Ok(event) = events.recv() else { bail!("the checker itself has failed") };
            match event {
                Event::Probed(target) => self.probed(target)?,
                Event::Note(note) => self.progress.aside(|| {
                    let _ = writeln!(std::io::stderr(), "fcgi-verify: {note}");
                }),
                Event::Running(case) => {
                    self.running = Some(case);
                    self.progress.running(case);
                }
                Event::Ran(ran) => self.ran(ran),
                Event::Finished(stopped) => {
                    self.run.stopped = stopped;
                    break;
                }
                Event::Refused(error) => return Err(error),
                Event::Signal(signal) => {
                    let within = self.running.map(|case| format!(" in {}", case.path())).unwrap_or_default();
                    self.run.stopped = Some(format!("interrupted by {}{within}", signals::name(signal)));
                    return Ok(Some(signal));
                }
            }
            self.run.stopped = self.output.trouble().map(str::to_owned);
        }
        Ok(None)
    }

    fn probed(&mut self, target: Target) -> Result<()> {
        // A report that cannot be written is better known before the cases than after them.
        self.junit = self.args.junit.as_deref().map(ReportFile::open).transpose()?;
        if !self.args.json {
            let count = self.run.cases.len();
            self.output.print(|out| text::header(out, &target, count));
        }
        self.run.target = Some(target);
        Ok(())
    }

    fn ran(&mut self, ran: Ran) {
        self.running = None;
        if !self.args.json && (!self.args.quiet || ran.failure().is_some()) {
            let (output, style) = (&mut self.output, self.args.style());
            self.progress.aside(|| output.print(|out| text::case(out, &ran, style)));
        }
        self.run.ran.push(ran);
        self.progress.done();
    }

    /// Tells all that is known; whether everything was run and has passed.
    ///
    /// # Errors
    /// If it cannot be written. What can be written is.
    pub(crate) fn finish(mut self) -> Result<bool> {
        self.progress.finish();
        if self.args.json {
            let document = json::document(&self.run)?;
            self.output.print(|out| writeln!(out, "{document}"));
        } else {
            self.output.print(|out| text::summary(out, &self.run, self.args.style()));
        }
        let printed = self.output.result();
        if let Some(file) = self.junit {
            file.write(&self.run)?;
        }
        printed?;
        Ok(self.run.passed())
    }
}
