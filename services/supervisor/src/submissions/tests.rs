use std::sync::Arc;

use hero_domain::{JobId, NewJob, Reason, ScriptType};
use hero_store::{Created, Error};
use tokio::sync::{Semaphore, mpsc};

use super::{Reply, Sink, Submissions};
use crate::config::SubmitConfig;

/// A store that says what it was sent and answers when it is told to. A job whose id it knows already exists.
struct HeldUp {
    calls: mpsc::UnboundedSender<Vec<String>>,
    answers: Arc<Semaphore>,
    known: JobId,
}

impl Sink for HeldUp {
    async fn submit(&self, jobs: &[NewJob]) -> Reply {
        self.calls.send(jobs.iter().map(|job| job.script.clone()).collect()).expect("the test listens");
        self.answers.acquire().await.expect("the test goes on").forget();
        if jobs.iter().any(|job| job.script == "away") {
            return Err(Error::Full);
        }
        match jobs.iter().position(|job| job.id == Some(self.known)) {
            Some(index) => Err(Error::JobExists { index, id: self.known }),
            None => Ok(jobs.iter().map(|job| Created { id: job.id.expect("an id"), is_new: true }).collect()),
        }
    }
}

struct Held {
    submissions: Arc<Submissions<HeldUp>>,
    calls: mpsc::UnboundedReceiver<Vec<String>>,
    answers: Arc<Semaphore>,
    known: JobId,
}

fn held(config: SubmitConfig) -> Held {
    let (sender, calls) = mpsc::unbounded_channel();
    let (answers, known) = (Arc::new(Semaphore::new(0)), JobId::mint());
    let sink = HeldUp { calls: sender, answers: Arc::clone(&answers), known };
    Held { submissions: Arc::new(Submissions::new(sink, config)), calls, answers, known }
}

fn one_at_a_time() -> SubmitConfig {
    SubmitConfig { max_in_flight: 1, ..SubmitConfig::default() }
}

fn job(script: &str) -> NewJob {
    NewJob { id: Some(JobId::mint()), ..NewJob::new(ScriptType::Osis, script) }
}

impl Held {
    /// Submits in a task of its own; on return the request is in flight or pending.
    async fn submit(
        &mut self,
        jobs: Vec<NewJob>,
    ) -> tokio::task::JoinHandle<Result<Reply, hero_domain::ApiError>> {
        let before = self.pending();
        let submissions = Arc::clone(&self.submissions);
        let is_free = submissions.0.lock().in_flight < submissions.0.config.max_in_flight;
        let task = tokio::spawn(async move { submissions.submit(jobs).await });
        while !is_free && self.pending() == before && !task.is_finished() {
            tokio::task::yield_now().await;
        }
        task
    }

    fn pending(&self) -> usize {
        self.submissions.0.lock().pending.len()
    }

    async fn sent(&mut self) -> Vec<String> {
        self.calls.recv().await.expect("a call")
    }
}

fn ids(reply: Reply) -> Vec<JobId> {
    reply.expect("stored").into_iter().map(|created| created.id).collect()
}

#[tokio::test]
async fn a_lone_request_goes_at_once_and_what_comes_meanwhile_goes_together() {
    let mut held = held(one_at_a_time());
    let first = held.submit(vec![job("1")]).await;
    assert_eq!(held.sent().await, ["1"]);
    let (two, three, four) = (job("2"), job("3"), job("4"));
    let expected = (vec![two.id.unwrap()], vec![three.id.unwrap(), four.id.unwrap()]);
    let second = held.submit(vec![two]).await;
    let third = held.submit(vec![three, four]).await;
    held.answers.add_permits(1);
    ids(first.await.unwrap().unwrap());
    assert_eq!(held.sent().await, ["2", "3", "4"]);
    held.answers.add_permits(1);
    assert_eq!(ids(second.await.unwrap().unwrap()), expected.0);
    assert_eq!(ids(third.await.unwrap().unwrap()), expected.1);
    assert_eq!(held.submissions.0.lock().in_flight, 0);
}

#[tokio::test]
async fn a_refused_request_fails_alone_and_with_its_own_index() {
    let mut held = held(one_at_a_time());
    let first = held.submit(vec![job("1")]).await;
    held.sent().await;
    let good = held.submit(vec![job("good")]).await;
    let bad = held.submit(vec![job("fine"), NewJob { id: Some(held.known), ..job("bad") }]).await;
    let other = held.submit(vec![job("other")]).await;
    held.answers.add_permits(1);
    ids(first.await.unwrap().unwrap());
    assert_eq!(held.sent().await, ["good", "fine", "bad", "other"]);
    held.answers.add_permits(4);
    ids(good.await.unwrap().unwrap());
    ids(other.await.unwrap().unwrap());
    let refusal = bad.await.unwrap().unwrap().unwrap_err();
    assert!(matches!(refusal, Error::JobExists { index: 1, id } if id == held.known), "{refusal:?}");
}

#[tokio::test]
async fn when_the_store_fails_everybody_learns_it_and_the_slot_comes_free() {
    let mut held = held(one_at_a_time());
    let first = held.submit(vec![job("1")]).await;
    held.sent().await;
    let second = held.submit(vec![job("away")]).await;
    let third = held.submit(vec![job("3")]).await;
    held.answers.add_permits(2);
    ids(first.await.unwrap().unwrap());
    for task in [second, third] {
        assert!(matches!(task.await.unwrap().unwrap(), Err(Error::Full)));
    }
    let fourth = held.submit(vec![job("4")]).await;
    held.answers.add_permits(1);
    ids(fourth.await.unwrap().unwrap());
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_its_pending_jobs_along_and_blocks_nobody() {
    let mut held = held(one_at_a_time());
    let first = held.submit(vec![job("1")]).await;
    held.sent().await;
    let gone = held.submit(vec![job("gone")]).await;
    let stays = held.submit(vec![job("stays")]).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    // The one in flight goes away too: its slot is handed on all the same.
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert_eq!(held.sent().await, ["stays"]);
    held.answers.add_permits(1);
    ids(stays.await.unwrap().unwrap());
}

#[tokio::test]
async fn a_shared_call_is_bounded_in_jobs_and_bytes() {
    let config = SubmitConfig { max_jobs: 2, max_bytes: 10, ..one_at_a_time() };
    let mut held = held(config);
    let mut tasks = vec![held.submit(vec![job("1")]).await];
    held.sent().await;
    for script in ["2", "3", "4", "five and more", "6"] {
        tasks.push(held.submit(vec![job(script)]).await);
    }
    tasks.push(held.submit(vec![job("7"), job("8"), job("9")]).await);
    held.answers.add_permits(100);
    for expected in [&["2", "3"][..], &["4"], &["five and more"], &["6"], &["7", "8", "9"]] {
        assert_eq!(held.sent().await, expected);
    }
    for task in tasks {
        ids(task.await.unwrap().unwrap());
    }
}

#[tokio::test]
async fn too_many_pending_requests_are_refused() {
    let mut held = held(SubmitConfig { max_pending: 1, ..one_at_a_time() });
    let first = held.submit(vec![job("1")]).await;
    held.sent().await;
    let second = held.submit(vec![job("2")]).await;
    let refused = held.submit(vec![job("3")]).await.await.unwrap().unwrap_err();
    assert_eq!(refused.reason(), Reason::TooManyRequests);
    assert!(refused.retry_after_ms().is_some());
    held.answers.add_permits(2);
    ids(first.await.unwrap().unwrap());
    ids(second.await.unwrap().unwrap());
}
