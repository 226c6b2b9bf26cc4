//! A server that gets into trouble, and keeps a log of every request: when it came, and when it was answered. The log
//! is what the generator's percentiles are held against.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::{Peer, reply};

/// What befalls the server, counted from its first request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trouble {
    /// In every period it takes nothing and answers nothing for so long.
    SlowByTurns { period: Duration, slow: Duration },
    /// It dies with all its connections at the first time, and another listens from the second on.
    Killed { from: Duration, to: Duration },
    /// Between these times it closes its connections and refuses new ones, as an overloaded machine's kernel does.
    Refuses { from: Duration, to: Duration },
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    arrived: Instant,
    answered: Option<Instant>,
}

#[derive(Default)]
struct Shared {
    first: Mutex<Option<Instant>>,
    entries: Mutex<Vec<Entry>>,
    open: Mutex<Vec<UnixStream>>,
    over: AtomicBool,
}

pub(crate) struct LoggedServer {
    pub(crate) address: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl LoggedServer {
    pub(crate) fn start(trouble: Trouble) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let address = format!("unix:{}", path.display());
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let listener = listen(&path);
        let thread = std::thread::spawn(move || attend(&seen, trouble, &path, listener));
        Self { address, shared, thread: Some(thread), _folder: folder }
    }

    /// Holds the percentiles of a report against the log. Request number n was due n / rate after the first came.
    pub(crate) fn assert_agrees(&self, json: &Value, rate: f64) {
        let mut entries = self.shared.entries.lock().unwrap().clone();
        entries.sort_by_key(|entry| entry.arrived);
        let due = json["report"]["due"].as_u64().unwrap() as usize;
        assert!(entries.len() <= due, "{} came of {due} due", entries.len());
        let start = entries[0].arrived;
        let mut latencies: Vec<Option<Duration>> = (0..due)
            .map(|number| {
                let due = start + Duration::from_secs_f64(number as f64 / rate);
                Some(entries.get(number)?.answered?.saturating_duration_since(due))
            })
            .collect();
        // Without an answer is later than any answer.
        latencies.sort_by_key(|latency| latency.unwrap_or(Duration::MAX));
        let latency = &json["report"]["latency_ns"];
        let at_least = latency["at_least"].as_array().cloned().unwrap_or_default();
        for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)] {
            let rank = ((quantile * due as f64).ceil() as usize).max(1);
            let reported = Duration::from_nanos(latency[name].as_u64().unwrap());
            match latencies[rank - 1] {
                Some(logged) => {
                    assert!(!at_least.contains(&name.into()), "{name} is known: {latency}");
                    // The log does not see what the replies take on their way, nor the order of a burst.
                    let apart = reported.abs_diff(logged);
                    assert!(apart < Duration::from_millis(60), "{name}: {reported:?}, but {logged:?} logged");
                }
                None => {
                    assert!(at_least.contains(&name.into()), "{name} was not answered: {latency}");
                    let longest = latencies[..rank].iter().rev().find_map(|latency| *latency).unwrap();
                    assert!(
                        reported + Duration::from_millis(60) > longest,
                        "{name}: {reported:?}, {longest:?}"
                    );
                }
            }
        }
    }

    /// How many requests were answered.
    pub(crate) fn answered(&self) -> usize {
        self.shared.entries.lock().unwrap().iter().filter(|entry| entry.answered.is_some()).count()
    }

    /// How many requests came after this time, counted from the first one.
    pub(crate) fn came_after(&self, time: Duration) -> usize {
        let from = self.shared.first.lock().unwrap().unwrap() + time;
        self.shared.entries.lock().unwrap().iter().filter(|entry| entry.arrived >= from).count()
    }
}

impl Drop for LoggedServer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn listen(path: &PathBuf) -> Option<UnixListener> {
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).unwrap();
    listener.set_nonblocking(true).unwrap();
    Some(listener)
}

/// Accepts, and lets the trouble come and go.
fn attend(shared: &Arc<Shared>, trouble: Trouble, path: &PathBuf, mut listener: Option<UnixListener>) {
    while !shared.over.load(Ordering::SeqCst) {
        let since = shared.first.lock().unwrap().map_or(Duration::ZERO, |first| first.elapsed());
        let down = match trouble {
            Trouble::Killed { from, to } | Trouble::Refuses { from, to } => (from..to).contains(&since),
            Trouble::SlowByTurns { .. } => false,
        };
        if down && listener.is_some() {
            listener = None;
            if matches!(trouble, Trouble::Killed { .. }) {
                std::fs::remove_file(path).unwrap();
            }
            for stream in shared.open.lock().unwrap().drain(..) {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
        } else if !down && listener.is_none() {
            listener = listen(path);
        }
        match listener.as_ref().map(UnixListener::accept) {
            Some(Ok((stream, _))) => {
                stream.set_nonblocking(false).unwrap();
                shared.open.lock().unwrap().push(stream.try_clone().unwrap());
                let shared = Arc::clone(shared);
                std::thread::spawn(move || serve(&shared, trouble, Peer::of(stream)));
            }
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn serve(shared: &Shared, trouble: Trouble, mut peer: Peer) {
    while let Some(request) = peer.request() {
        let arrived = Instant::now();
        let first = *shared.first.lock().unwrap().get_or_insert(arrived);
        let at = {
            let mut entries = shared.entries.lock().unwrap();
            entries.push(Entry { arrived, answered: None });
            entries.len() - 1
        };
        if let Trouble::SlowByTurns { period, slow } = trouble {
            let phase = Duration::from_nanos((first.elapsed().as_nanos() % period.as_nanos()) as u64);
            // The end of each period is the slow part, so that the first requests are served at once.
            if phase > period - slow {
                std::thread::sleep(period - phase);
            }
        }
        if peer.try_send(&reply(request.id, b"Hello")) {
            shared.entries.lock().unwrap()[at].answered = Some(Instant::now());
        }
    }
}
