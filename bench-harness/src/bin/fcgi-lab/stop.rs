//! How a run is interrupted.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::output::complain;

const EXIT_INTERRUPTED: u8 = 130;

/// Set by SIGINT and SIGTERM. A second one ends the process at once; the kernel then ends the pools.
pub(crate) fn on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let code = EXIT_INTERRUPTED.into();
        signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// Says so, for whoever was interrupted.
pub(crate) fn interrupted() -> ExitCode {
    complain("interrupted");
    ExitCode::from(EXIT_INTERRUPTED)
}

/// A seed where none is given.
pub(crate) fn time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
