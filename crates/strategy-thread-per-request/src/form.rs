//! The costs of the model, one by one: how a request gets its thread, and whether the main thread goes on beside it.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};

use fcgi_worker::{drain, threads};

use crate::lock;

/// Forms of the model. What two of them differ in is what the difference of their costs tells of; strategy-select, whose
/// loop runs the steps itself, has neither threads nor locks.
///
/// | form | threads | locks |
/// |---|---|---|
/// | `Created`, the strategy | one is created for each request | threads may have to wait for each other |
/// | `Pool` | `--threads` of them, created at the start, take requests from a queue | the same, and the queue's |
/// | `Uncontended` | one is created for each request | taken and never waited for, where no request waits |
///
/// - `Created` less `Pool`: what it costs to create and to destroy a thread, beyond handing a request to one that is there.
///   That takes the queue's lock, and a wake-up where a thread sleeps.
/// - `Created` less `Uncontended`: what it costs that threads meet at locks, less what it costs the main thread to wait for
///   each request: a call to sleep, one to wake it, and a switch. So it can be negative: then waiting for locks
///   costs less than that. It says nothing of throughput on several cores, since one thread works at a time.
/// - `Uncontended` less strategy-select: creating the thread, waiting for it, and locks that nobody contends for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The model itself.
    Created,
    /// Threads are created once.
    Pool,
    /// The main thread waits until the thread that it has created has ended, or waits itself: for a time, to be woken, or
    /// for room in the output. So there is one thread at a time that works. One whose wait is over works beside the others
    /// again; with requests that wait, locks can be contended for. The heap's own lock can be in any case: a thread frees
    /// what it had while it ends.
    Uncontended,
}

/// What a thread of the pool does between two waits for the queue.
type Task = Box<dyn FnOnce() + Send>;

/// Gives threads to requests.
pub(crate) enum Starter {
    Created { most: usize },
    Pool { queue: Arc<Queue>, threads: Vec<JoinHandle<io::Result<()>>> },
    Uncontended { most: usize, at_work: AtWork },
}

impl Starter {
    /// For so many threads at a time. Called by the main thread.
    pub(crate) fn new(form: Form, most: usize) -> io::Result<Self> {
        Ok(match form {
            Form::Created => Self::Created { most },
            Form::Pool => {
                let queue = Arc::new(Queue::default());
                let threads = threads::start("request", most, || {
                    let queue = Arc::clone(&queue);
                    move || {
                        while let Some(task) = queue.take() {
                            task();
                        }
                        Ok(())
                    }
                })?;
                Self::Pool { queue, threads }
            }
            Form::Uncontended => {
                let working = Working { threads: AtomicUsize::new(0), main: thread::current() };
                Self::Uncontended { most, at_work: AtWork(Some(Arc::new(working))) }
            }
        })
    }

    /// How many threads there can be at a time.
    pub(crate) fn threads(&self) -> usize {
        match self {
            Self::Created { most } | Self::Uncontended { most, .. } => *most,
            Self::Pool { threads, .. } => threads.len(),
        }
    }

    /// What a thread tells when it waits.
    pub(crate) fn at_work(&self) -> AtWork {
        match self {
            Self::Created { .. } | Self::Pool { .. } => AtWork(None),
            Self::Uncontended { at_work, .. } => at_work.clone(),
        }
    }

    /// Gives this a thread. Never called while as many as there can be have something to do.
    ///
    /// # Errors
    ///
    /// No thread can be had.
    pub(crate) fn start(&self, task: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = thread::Builder::new();
        match self {
            Self::Created { .. } => thread.spawn(task).map(drop),
            Self::Pool { queue, .. } => {
                queue.put(Box::new(task));
                Ok(())
            }
            Self::Uncontended { at_work, .. } => {
                at_work.resume();
                let its = at_work.clone();
                let created = thread.spawn(move || {
                    task();
                    its.rest();
                });
                match &created {
                    Ok(_) => at_work.wait(),
                    Err(_) => at_work.rest(),
                }
                created.map(drop)
            }
        }
    }

    /// Ends the threads of the pool, when there are no requests any more.
    pub(crate) fn end(self) -> io::Result<()> {
        match self {
            Self::Created { .. } | Self::Uncontended { .. } => Ok(()),
            Self::Pool { queue, threads } => {
                queue.end();
                drain::join(threads)
            }
        }
    }
}

/// Those that wait for a thread of the pool: no more than it has.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    tasks: VecDeque<Task>,
    is_over: bool,
}

impl Queue {
    fn put(&self, task: Task) {
        lock(&self.waiting).tasks.push_back(task);
        self.changed.notify_one();
    }

    /// Waits for the next one; none where it is over.
    fn take(&self) -> Option<Task> {
        let is_empty = |waiting: &mut Waiting| waiting.tasks.is_empty() && !waiting.is_over;
        let waited = self.changed.wait_while(lock(&self.waiting), is_empty);
        waited.unwrap_or_else(PoisonError::into_inner).tasks.pop_front()
    }

    fn end(&self) {
        lock(&self.waiting).is_over = true;
        self.changed.notify_all();
    }
}

/// How many threads work, where the main thread waits for them; nothing where it does not.
#[derive(Clone)]
pub(crate) struct AtWork(Option<Arc<Working>>);

struct Working {
    threads: AtomicUsize,
    main: Thread,
}

impl AtWork {
    /// A thread works, from now on or again.
    pub(crate) fn resume(&self) {
        if let Some(working) = &self.0 {
            working.threads.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// One of them ends or waits.
    pub(crate) fn rest(&self) {
        if let Some(working) = &self.0
            && working.threads.fetch_sub(1, Ordering::AcqRel) == 1
        {
            working.main.unpark();
        }
    }

    /// The main thread waits until none works.
    fn wait(&self) {
        while let Some(working) = &self.0
            && working.threads.load(Ordering::Acquire) > 0
        {
            thread::park();
        }
    }
}
