//! The threads that scripts run on.
//!
//! A script is plain computation that may last microseconds or for ever, and nobody knows which before. So
//! there are as many threads as processors for the quick ones; and a watch, which runs only while scripts do,
//! looks every few milliseconds whether a thread is still at the same job. Such a thread is set aside: it
//! lowers its own claim to the processor, finishes that one job and ends, and a fresh thread takes its place.
//! Endless loops therefore hold up quick jobs for some milliseconds at most, and the number of threads is
//! bounded by the processors and the runner's slots together.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use rustix::{process::setpriority_process, thread::gettid};

use crate::attempt::Run;

/// How long a thread may be at one job before it is set aside.
const PATIENCE: Duration = Duration::from_millis(5);
/// The watch rests after so many looks that found every thread idle.
const CALM_LOOKS: u32 = 20;
/// The niceness of a thread that was set aside.
const NICE: i32 = 5;
/// Deep values are dropped, compared and printed by recursion; only the pages that are touched cost memory.
const STACK_BYTES: usize = 256 << 20;

type Work = dyn Fn(Run) + Send + Sync;

/// Threads that run scripts.
pub(super) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Wakes a thread that waits for a job.
    job: Condvar,
    /// Wakes the watch.
    busy: Condvar,
    work: Box<Work>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Run>,
    /// Threads that take jobs: all but those that were set aside.
    threads: Vec<Arc<Worker>>,
    idle: usize,
    is_watched: bool,
    is_closed: bool,
    named: u64,
}

/// What the watch sees of a thread.
#[derive(Default)]
struct Worker {
    /// Counts the jobs that it began and ended: odd while it is at one.
    turns: AtomicU64,
    /// The kernel's number of the thread.
    tid: AtomicU64,
    is_aside: AtomicBool,
}

impl Pool {
    /// Starts `threads` threads and the watch.
    pub(super) fn start(threads: usize, work: impl Fn(Run) + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            job: Condvar::new(),
            busy: Condvar::new(),
            work: Box::new(work),
        });
        let mut state = shared.state.lock();
        for _ in 0..threads.max(1) {
            shared.add_thread(&mut state);
        }
        drop(state);
        let watched = Arc::clone(&shared);
        spawn("osis-watch", 256 << 10, move || watched.watch());
        Self { shared }
    }

    /// Puts a job in the queue.
    pub(super) fn push(&self, run: Run) {
        let mut state = self.shared.state.lock();
        state.queue.push_back(run);
        let (wake_thread, wake_watch) = (state.idle > 0, !state.is_watched);
        state.is_watched = true;
        drop(state);
        if wake_thread {
            self.shared.job.notify_one();
        }
        if wake_watch {
            self.shared.busy.notify_one();
        }
    }
}

impl Drop for Pool {
    /// The threads end after the job they are at; what is queued is dropped, and so reported as failed.
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.is_closed = true;
        let queued = std::mem::take(&mut state.queue);
        drop(state);
        drop(queued);
        self.shared.job.notify_all();
        self.shared.busy.notify_all();
    }
}

impl Shared {
    fn add_thread(self: &Arc<Self>, state: &mut State) {
        let worker = Arc::new(Worker::default());
        state.threads.push(Arc::clone(&worker));
        let shared = Arc::clone(self);
        let name = format!("osis-{}", state.named);
        state.named += 1;
        if !spawn(&name, STACK_BYTES, move || shared.serve(&worker)) {
            state.threads.pop();
        }
    }

    fn serve(&self, worker: &Worker) {
        worker.tid.store(u64::from(gettid().as_raw_nonzero().get().unsigned_abs()), Ordering::Relaxed);
        while let Some(run) = self.take(worker) {
            worker.turns.fetch_add(1, Ordering::Release);
            (self.work)(run);
            worker.turns.fetch_add(1, Ordering::Release);
        }
    }

    fn take(&self, worker: &Worker) -> Option<Run> {
        let mut state = self.state.lock();
        loop {
            // Threads are set aside under this lock, so one that was takes nothing any more.
            if state.is_closed || worker.is_aside.load(Ordering::Relaxed) {
                return None;
            }
            if let Some(run) = state.queue.pop_front() {
                return Some(run);
            }
            state.idle += 1;
            self.job.wait(&mut state);
            state.idle -= 1;
        }
    }

    fn watch(self: &Arc<Self>) {
        let mut calm = 0;
        let mut seen: Vec<(Arc<Worker>, u64)> = Vec::new();
        let mut state = self.state.lock();
        while !state.is_closed {
            let is_calm = state.queue.is_empty() && state.idle == state.threads.len();
            calm = if is_calm { calm + 1 } else { 0 };
            if calm > CALM_LOOKS {
                state.is_watched = false;
                self.busy.wait(&mut state);
                calm = 0;
            }
            self.set_stuck_aside(&mut state, &seen);
            seen.clear();
            seen.extend(state.threads.iter().map(|w| (Arc::clone(w), w.turns.load(Ordering::Acquire))));
            self.busy.wait_for(&mut state, PATIENCE);
        }
    }

    /// Sets aside each thread that is still at the job it was at when it was last `seen`.
    fn set_stuck_aside(self: &Arc<Self>, state: &mut State, seen: &[(Arc<Worker>, u64)]) {
        for (worker, turns) in seen {
            let is_at_a_job = turns % 2 == 1;
            if !is_at_a_job || worker.turns.load(Ordering::Acquire) != *turns {
                continue;
            }
            worker.is_aside.store(true, Ordering::Relaxed);
            worker.yield_processor();
            state.threads.retain(|other| !Arc::ptr_eq(other, worker));
            self.add_thread(state);
        }
    }
}

impl Worker {
    fn yield_processor(&self) {
        let tid =
            i32::try_from(self.tid.load(Ordering::Relaxed)).ok().and_then(rustix::process::Pid::from_raw);
        // On Linux the call takes the number of a thread, too. It is a courtesy to the others: no harm if refused.
        if let Err(error) = setpriority_process(tid, NICE) {
            tracing::debug!(%error, "the priority of a script's thread stays as it is");
        }
    }
}

fn spawn(name: &str, stack_bytes: usize, body: impl FnOnce() + Send + 'static) -> bool {
    let spawned = thread::Builder::new().name(name.to_owned()).stack_size(stack_bytes).spawn(body);
    if let Err(error) = &spawned {
        tracing::error!(%error, name, "cannot start a thread for scripts");
    }
    spawned.is_ok()
}
