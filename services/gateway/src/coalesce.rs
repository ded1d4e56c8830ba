//! Submits that arrive together travel together.
//!
//! A call to the supervisor costs more than the job in it. So while one submit is under way, those that come
//! in meanwhile wait for it and then go as one call; a batch of a hundred `submit_job` is two calls. A submit
//! that is alone is passed on as it is.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use hero_domain::{
    ApiError, Caller, ErrorCode, Explanation, Job, JobFilter, JobId, JobPage, JobStatus, LogPage, NewJob,
    Reason, Result, Stats, ports::Jobs,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Jobs in one call; far below what a supervisor takes at once.
const MAX_JOBS: usize = 250;
/// Bytes of script text in one call, unless a single job has more.
const MAX_SCRIPT_BYTES: usize = 1 << 20;

/// Jobs whose single submits are sent together. Cheap to clone; clones share the queue.
#[derive(Debug)]
pub struct Coalesced<J>(Arc<Inner<J>>);

impl<J> Clone for Coalesced<J> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct Inner<J> {
    jobs: J,
    /// A submit that found nobody before it is under way.
    alone: AtomicBool,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// A task is sending what waits.
    is_sending: bool,
}

#[derive(Debug)]
struct Waiting {
    caller: Caller,
    job: NewJob,
    done: oneshot::Sender<Result<JobId>>,
}

impl<J: Jobs> Coalesced<J> {
    /// Jobs over `jobs`.
    pub fn new(jobs: J) -> Self {
        Self(Arc::new(Inner { jobs, alone: AtomicBool::new(false), queue: Mutex::default() }))
    }

    async fn submit_one(&self, caller: &Caller, job: NewJob) -> Result<JobId> {
        if !self.0.alone.swap(true, Ordering::Acquire) {
            let _reset = Reset(&self.0.alone);
            return self.0.submit_one(caller, job).await;
        }
        let (done, answer) = oneshot::channel();
        let must_send = {
            let mut queue = self.0.queue.lock();
            queue.waiting.push(Waiting { caller: caller.clone(), job, done });
            !mem::replace(&mut queue.is_sending, true)
        };
        if must_send {
            // A task of its own: were it this caller's, the others would lose theirs when this one hangs up.
            tokio::spawn(Arc::clone(&self.0).send());
        }
        answer.await.unwrap_or_else(|_| Err(ApiError::internal("the task that sends submits has ended")))
    }
}

impl<J: Jobs> Inner<J> {
    async fn submit_one(&self, caller: &Caller, job: NewJob) -> Result<JobId> {
        let ids = self.jobs.submit(caller, vec![job]).await?;
        ids.into_iter().next().ok_or_else(|| ApiError::internal("a submit of one job returned no id"))
    }

    async fn send(self: Arc<Self>) {
        let mut sending = Sending { inner: &self, ended: false };
        while let Some(waiting) = sending.next() {
            join_all(groups(waiting).into_iter().map(|group| self.send_group(group))).await;
        }
    }

    /// Sends jobs of one caller. All or none is what the port promises, but each of these was asked for alone: when
    /// one is at fault, each goes alone.
    async fn send_group(&self, mut group: Vec<Waiting>) {
        if group.len() == 1 {
            let Some(Waiting { caller, job, done }) = group.pop() else { return };
            answer(done, self.submit_one(&caller, job).await);
            return;
        }
        let jobs = group.iter().map(|waiting| waiting.job.clone()).collect();
        match self.jobs.submit(&group[0].caller, jobs).await {
            Ok(ids) if ids.len() == group.len() => {
                for (waiting, id) in group.into_iter().zip(ids) {
                    answer(waiting.done, Ok(id));
                }
            }
            Ok(_) => {
                for waiting in group {
                    let error = ApiError::internal("a submit returned another number of ids than jobs");
                    answer(waiting.done, Err(error));
                }
            }
            Err(error) if one_is_at_fault(&error) => {
                join_all(group.into_iter().map(|Waiting { caller, job, done }| async move {
                    answer(done, self.submit_one(&caller, job).await);
                }))
                .await;
            }
            Err(error) => {
                for waiting in group {
                    answer(waiting.done, Err(copy(&error)));
                }
            }
        }
    }
}

/// Whether the submit was refused because of a job in it, so that nothing was stored and the others are fine.
fn one_is_at_fault(error: &ApiError) -> bool {
    error.reason() == Reason::ContextFull
        || matches!(
            error.code(),
            ErrorCode::InvalidArgument | ErrorCode::NotFound | ErrorCode::AlreadyExists | ErrorCode::Conflict
        )
}

fn copy(error: &ApiError) -> ApiError {
    let mut copy = ApiError::new(error.reason(), error.message());
    if let Some(pause_ms) = error.retry_after_ms() {
        copy = copy.with_retry_after_ms(pause_ms);
    }
    copy
}

/// Whoever asked may have hung up; its job is as good as any.
fn answer(done: oneshot::Sender<Result<JobId>>, result: Result<JobId>) {
    let _ = done.send(result);
}

/// By caller, in order, each within the bounds of a call.
fn groups(waiting: Vec<Waiting>) -> Vec<Vec<Waiting>> {
    struct Group {
        bytes: usize,
        members: Vec<Waiting>,
    }
    let mut groups: Vec<Group> = Vec::new();
    for one in waiting {
        let bytes = one.job.script.len();
        let fits = |group: &&mut Group| {
            group.members[0].caller == one.caller
                && group.members.len() < MAX_JOBS
                && group.bytes + bytes <= MAX_SCRIPT_BYTES
        };
        match groups.iter_mut().rev().find(fits) {
            Some(group) => {
                group.bytes += bytes;
                group.members.push(one);
            }
            None => groups.push(Group { bytes, members: vec![one] }),
        }
    }
    groups.into_iter().map(|group| group.members).collect()
}

/// The right to send, given back in any case.
struct Sending<'a, J> {
    inner: &'a Inner<J>,
    ended: bool,
}

impl<J> Sending<'_, J> {
    fn next(&mut self) -> Option<Vec<Waiting>> {
        let mut queue = self.inner.queue.lock();
        if queue.waiting.is_empty() {
            queue.is_sending = false;
            self.ended = true;
            return None;
        }
        Some(mem::take(&mut queue.waiting))
    }
}

impl<J> Drop for Sending<'_, J> {
    fn drop(&mut self) {
        if !self.ended {
            // The runtime is going down, or something below panicked: who waits now must not wait for ever.
            let mut queue = self.inner.queue.lock();
            queue.is_sending = false;
            queue.waiting.clear();
        }
    }
}

struct Reset<'a>(&'a AtomicBool);

impl Drop for Reset<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl<J: Jobs> Jobs for Coalesced<J> {
    async fn submit(&self, caller: &Caller, mut jobs: Vec<NewJob>) -> Result<Vec<JobId>> {
        match jobs.pop() {
            Some(job) if jobs.is_empty() => Ok(vec![self.submit_one(caller, job).await?]),
            last => {
                jobs.extend(last);
                self.0.jobs.submit(caller, jobs).await
            }
        }
    }

    async fn create(&self, caller: &Caller, job: NewJob) -> Result<JobId> {
        self.0.jobs.create(caller, job).await
    }

    async fn start(&self, caller: &Caller, id: JobId) -> Result<()> {
        self.0.jobs.start(caller, id).await
    }

    async fn run(&self, caller: &Caller, job: NewJob, wait: Option<Duration>) -> Result<Job> {
        self.0.jobs.run(caller, job, wait).await
    }

    async fn wait(&self, caller: &Caller, id: JobId, wait: Option<Duration>) -> Result<Job> {
        self.0.jobs.wait(caller, id, wait).await
    }

    async fn get(&self, caller: &Caller, id: JobId) -> Result<Job> {
        self.0.jobs.get(caller, id).await
    }

    async fn status(&self, caller: &Caller, id: JobId) -> Result<JobStatus> {
        self.0.jobs.status(caller, id).await
    }

    async fn logs(
        &self,
        caller: &Caller,
        id: JobId,
        from: Option<String>,
        max_bytes: usize,
    ) -> Result<LogPage> {
        self.0.jobs.logs(caller, id, from, max_bytes).await
    }

    async fn list(&self, caller: &Caller, filter: JobFilter) -> Result<JobPage> {
        self.0.jobs.list(caller, filter).await
    }

    async fn stop(&self, caller: &Caller, id: JobId) -> Result<()> {
        self.0.jobs.stop(caller, id).await
    }

    async fn retry(&self, caller: &Caller, id: JobId) -> Result<JobStatus> {
        self.0.jobs.retry(caller, id).await
    }

    async fn retry_many(&self, caller: &Caller, filter: JobFilter) -> Result<Vec<JobId>> {
        self.0.jobs.retry_many(caller, filter).await
    }

    async fn explain(&self, caller: &Caller, id: JobId) -> Result<Explanation> {
        self.0.jobs.explain(caller, id).await
    }

    async fn stats(&self, caller: &Caller) -> Result<Stats> {
        self.0.jobs.stats(caller).await
    }

    async fn delete(&self, caller: &Caller, id: JobId) -> Result<()> {
        self.0.jobs.delete(caller, id).await
    }

    async fn clear(&self, caller: &Caller) -> Result<u64> {
        self.0.jobs.clear(caller).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::future::join_all;
    use hero_domain::{ApiError, Caller, ErrorCode, JobId, NewJob, Reason, ScriptType, ports::Jobs as _};
    use hero_testing::FakeNode;

    use super::Coalesced;

    fn job(script: &str) -> NewJob {
        NewJob::new(ScriptType::Osis, script)
    }

    async fn submit(jobs: &Coalesced<FakeNode>, caller: &Caller, job: NewJob) -> Result<JobId, ApiError> {
        jobs.submit(caller, vec![job]).await.map(|ids| ids[0])
    }

    #[tokio::test(start_paused = true)]
    async fn what_arrives_together_is_two_calls_and_each_gets_its_own_id() {
        let node = FakeNode::new();
        node.set_delay(Duration::from_millis(10));
        let jobs = Coalesced::new(node.clone());
        let caller = Caller::local();
        let scripts: Vec<String> = (0..100).map(|index| index.to_string()).collect();
        let ids = join_all(scripts.iter().map(|script| submit(&jobs, &caller, job(script)))).await;
        assert_eq!(node.calls(), ["submit", "submit"]);
        for (script, id) in scripts.iter().zip(ids) {
            assert_eq!(node.get(&caller, id.unwrap()).await.unwrap().script, *script);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_alone_or_an_array_is_passed_on_as_it_is() {
        let node = FakeNode::new();
        let jobs = Coalesced::new(node.clone());
        submit(&jobs, &Caller::local(), job("a")).await.unwrap();
        submit(&jobs, &Caller::local(), job("b")).await.unwrap();
        assert_eq!(jobs.submit(&Caller::local(), vec![job("c"), job("d")]).await.unwrap().len(), 2);
        assert_eq!(jobs.submit(&Caller::local(), Vec::new()).await.unwrap().len(), 0);
        assert_eq!(node.calls().len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn one_at_fault_does_not_take_the_others_with_it() {
        let node = FakeNode::new();
        node.set_delay(Duration::from_millis(10));
        let jobs = Coalesced::new(node.clone());
        let caller = Caller::local();
        let scripts = ["a", "b", " ", "d"];
        let ids = join_all(scripts.map(|script| submit(&jobs, &caller, job(script)))).await;
        for (script, id) in scripts.iter().zip(ids) {
            match id {
                Ok(id) => assert_eq!(node.get(&caller, id).await.unwrap().script, *script),
                Err(error) => assert_eq!((*script, error.reason()), (" ", Reason::ScriptEmpty)),
            }
        }
        assert_eq!(node.submitted().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn callers_are_kept_apart_and_an_outage_is_told_to_all() {
        let node = FakeNode::new();
        node.set_delay(Duration::from_millis(10));
        let jobs = Coalesced::new(node.clone());
        let other = Caller { name: "other".to_owned(), ..Caller::local() };
        let callers = [Caller::local(), Caller::local(), other.clone(), Caller::local(), other];
        join_all(callers.iter().map(|caller| submit(&jobs, caller, job("x")))).await;
        assert_eq!(node.calls().len(), 3, "one alone, and one for each caller");
        for _ in 0..2 {
            node.fail_next(ApiError::new(Reason::StoreUnavailable, "gone").with_retry_after_ms(9));
        }
        let caller = Caller::local();
        let answers = join_all((0..5).map(|_| submit(&jobs, &caller, job("x")))).await;
        for answer in answers {
            let error = answer.unwrap_err();
            assert_eq!((error.code(), error.message()), (ErrorCode::Unavailable, "gone"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_hangs_up_takes_nobody_with_it() {
        let node = FakeNode::new();
        node.set_delay(Duration::from_millis(10));
        let jobs = Coalesced::new(node.clone());
        let caller = Caller::local();
        let mut first = Box::pin(submit(&jobs, &caller, job("first")));
        let mut second = Box::pin(submit(&jobs, &caller, job("second")));
        let third = submit(&jobs, &caller, job("third"));
        assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
        drop((first, second));
        third.await.unwrap();
        submit(&jobs, &caller, job("fourth")).await.unwrap();
        assert!(node.submitted().iter().any(|job| job.script == "third"));
    }
}
