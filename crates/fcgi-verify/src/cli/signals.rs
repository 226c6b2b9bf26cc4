//! The signals that end a run with what is known so far.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::checker::Event;

/// Sends each signal as an event. A second one ends the process at once; its keeper then ends the server.
pub(crate) fn watch(events: Sender<Event>) -> io::Result<()> {
    let again = Arc::new(AtomicBool::new(false));
    let mut watched = vec![SIGINT, SIGTERM];
    if !hangups_are_ignored() {
        watched.push(SIGHUP);
    }
    for &signal in &watched {
        let status = i32::from(exit_status(signal));
        signal_hook::flag::register_conditional_shutdown(signal, status, Arc::clone(&again))?;
        signal_hook::flag::register(signal, Arc::clone(&again))?;
    }
    let mut signals = Signals::new(&watched)?;
    thread::spawn(move || {
        for signal in signals.forever() {
            let _ = events.send(Event::Signal(signal));
        }
    });
    Ok(())
}

/// 128 + the signal, as a shell says it.
pub(crate) fn exit_status(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

/// The name of a signal that is watched.
pub(crate) fn name(signal: i32) -> &'static str {
    match signal {
        SIGINT => "SIGINT",
        SIGHUP => "SIGHUP",
        _ => "SIGTERM",
    }
}

/// Whether fcgi-verify was started by `nohup`.
fn hangups_are_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & 1 << (SIGHUP - 1) != 0
}
