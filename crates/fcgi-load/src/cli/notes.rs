//! What makes a run's numbers mean less than they seem to.

use fcgi_load::{Capacity, Mode, Report};

/// Above this share of a core the generator, not the server, may have set the pace.
const BUSY_GENERATOR: f64 = 0.9;

/// What there is to say about a run beside its numbers.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) capacity: Option<Capacity>,
    pub(crate) warnings: Vec<String>,
}

impl Notes {
    pub(crate) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// Looks for what there is to warn of.
    pub(crate) fn judge(&mut self, report: &Report) {
        if let Some(load) = report.generator_load()
            && load > BUSY_GENERATOR
        {
            self.warn(format!(
                "this generator used {:.0} % of a core: it may have been the bottleneck, not the server",
                load * 100.0
            ));
        }
        if let Some(share) = report.achieved_by_offered()
            && !report.kept_up()
            && !report.stopped
        {
            self.warn(format!(
                "only {:.1} % of the offered rate was achieved: of {} requests due {} had no good reply, {} of them \
                 never sent",
                share * 100.0,
                report.due,
                report.due - report.completed,
                report.unsent
            ));
        }
        let peak = report.peak_in_flight;
        if report.mode == Mode::Multiplex && peak < 2 && report.completed > 1 {
            self.warn("no connection ever had two requests in flight: nothing was multiplexed".into());
        }
        if report.gave_up {
            self.warn("the run ended early: nothing came from the server in twice the timeout".into());
        }
        if report.stopped {
            self.warn("the run was interrupted".into());
        }
    }
}
