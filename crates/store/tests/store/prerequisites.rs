//! Prerequisites: who waits, who is released, who fails with them.

use hero_domain::{ErrorKind, JobId, JobStatus, NewJob, Priority, ScriptType};
use hero_store::{JobStore, Session};

use crate::{
    fixture::Fixture,
    world::{World, after, at, osis},
};

promises![
    a_job_waits_until_its_prerequisite_has_finished,
    a_job_waits_for_the_last_of_several,
    the_same_prerequisite_twice_counts_once,
    a_diamond_runs_its_tip_once,
    a_chain_of_a_thousand_runs_in_order,
    a_failing_prerequisite_fails_a_chain_of_a_thousand,
    a_stopped_prerequisite_fails_its_dependents,
    a_deleted_prerequisite_fails_its_dependents,
    a_diamond_fails_once,
    a_prerequisite_that_has_finished_does_not_hold_up,
    a_prerequisite_that_has_failed_fails_a_start,
    a_deleted_prerequisite_fails_a_start,
    an_expired_prerequisite_fails_a_start,
    a_created_dependent_is_left_alone_until_its_start,
    three_hundred_dependents_are_released,
    three_hundred_dependents_fail,
    a_fan_of_fans_is_released_in_steps,
    a_released_dependent_goes_to_its_own_queue,
    a_released_dependent_waits_for_its_own_time,
    a_stopped_dependent_is_not_released,
    a_deleted_dependent_is_not_released,
    a_dependent_that_came_back_under_its_id_is_not_released_by_the_old_wait,
    a_retry_of_a_prerequisite_keeps_its_dependents_waiting,
    a_lost_prerequisite_fails_its_dependents,
    dependents_are_told_while_they_wait,
];

use JobStatus::{Dispatched, Finished, WaitingForPrerequisites};

/// Runs everything that is queued, and sweeps, until nothing is left; the ids in the order they ran.
async fn run_all<F: Fixture>(w: &World<F>, runner: &Session) -> Vec<JobId> {
    let mut ran = Vec::new();
    loop {
        w.settle().await;
        let jobs = w.claim(runner, 100).await;
        if jobs.is_empty() {
            return ran;
        }
        for job in &jobs {
            w.finish(runner, job).await;
            ran.push(job.id);
        }
    }
}

async fn a_job_waits_until_its_prerequisite_has_finished<F: Fixture>(w: World<F>) {
    let first = w.submit(osis()).await;
    let second = w.create_one(after(&[first])).await;
    assert_eq!(w.start(second, None).await.unwrap(), WaitingForPrerequisites);
    assert_eq!(w.queued().await, [first]);
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    assert_eq!(w.status_of(second).await, WaitingForPrerequisites, "a start is no end");
    w.advance(7).await;
    w.finish(&runner, &claimed).await;
    let job = w.job(second).await;
    assert_eq!((job.status, job.queued_at), (Dispatched, Some(at(7))), "in the same step");
    assert_eq!(w.queued().await, [second]);
}

async fn a_job_waits_for_the_last_of_several<F: Fixture>(w: World<F>) {
    let prerequisites = w.submit_many(3).await;
    let last = w.submit(after(&prerequisites)).await;
    let runner = w.runner("a").await;
    for (done, _) in prerequisites.iter().enumerate() {
        assert_eq!(w.status_of(last).await, WaitingForPrerequisites, "after {done}");
        w.run_next(&runner).await;
    }
    assert_eq!(w.queued().await, [last]);
}

async fn the_same_prerequisite_twice_counts_once<F: Fixture>(w: World<F>) {
    let first = w.submit(osis()).await;
    let second = w.submit(after(&[first, first])).await;
    let runner = w.runner("a").await;
    w.run_next(&runner).await;
    assert_eq!(w.queued().await, [second]);
}

async fn a_diamond_runs_its_tip_once<F: Fixture>(w: World<F>) {
    let root = w.submit(osis()).await;
    let left = w.submit(after(&[root])).await;
    let right = w.submit(after(&[root])).await;
    let tip = w.submit(after(&[left, right, root])).await;
    let runner = w.runner("a").await;
    assert_eq!(run_all(&w, &runner).await, [root, left, right, tip]);
    assert_eq!(w.job(tip).await.attempt, 1);
}

/// A chain, each job waiting for the one before it; all started.
async fn chain<F: Fixture>(w: &World<F>, length: usize) -> Vec<JobId> {
    let ids: Vec<JobId> = (0..length).map(|_| JobId::mint()).collect();
    let jobs: Vec<NewJob> = (0..length)
        .map(|at| NewJob {
            id: Some(ids[at]),
            prerequisites: ids[..at].last().copied().into_iter().collect(),
            ..osis()
        })
        .collect();
    w.create(&jobs, true).await.unwrap();
    ids
}

async fn a_chain_of_a_thousand_runs_in_order<F: Fixture>(w: World<F>) {
    let ids = chain(&w, 1_000).await;
    let runner = w.runner("a").await;
    assert_eq!(run_all(&w, &runner).await, ids);
}

async fn a_failing_prerequisite_fails_a_chain_of_a_thousand<F: Fixture>(w: World<F>) {
    let ids = chain(&w, 1_000).await;
    let runner = w.runner("a").await;
    let first = w.claim_one(&runner).await;
    w.fail(&runner, &first, ErrorKind::ScriptFailed).await;
    w.settle().await;
    w.assert_failed(ids[0], ErrorKind::ScriptFailed).await;
    for id in &ids[1..] {
        w.assert_failed(*id, ErrorKind::PrerequisiteFailed).await;
    }
    assert_eq!(w.places().await, Default::default());
}

async fn a_stopped_prerequisite_fails_its_dependents<F: Fixture>(w: World<F>) {
    let ids = chain(&w, 3).await;
    w.stop(ids[0], None).await.unwrap();
    w.settle().await;
    w.assert_failed(ids[0], ErrorKind::Stopped).await;
    w.assert_failed(ids[1], ErrorKind::PrerequisiteFailed).await;
    w.assert_failed(ids[2], ErrorKind::PrerequisiteFailed).await;
}

async fn a_deleted_prerequisite_fails_its_dependents<F: Fixture>(w: World<F>) {
    let ids = chain(&w, 3).await;
    w.delete(ids[0], None).await.unwrap();
    w.settle().await;
    w.assert_failed(ids[1], ErrorKind::PrerequisiteFailed).await;
    w.assert_failed(ids[2], ErrorKind::PrerequisiteFailed).await;
    assert_eq!(w.places().await, Default::default());
}

async fn a_diamond_fails_once<F: Fixture>(w: World<F>) {
    let root = w.submit(osis()).await;
    let left = w.submit(after(&[root])).await;
    let right = w.submit(after(&[root])).await;
    let tip = w.submit(after(&[left, right])).await;
    w.stop(root, None).await.unwrap();
    w.settle().await;
    for id in [left, right, tip] {
        w.assert_failed(id, ErrorKind::PrerequisiteFailed).await;
    }
}

async fn a_prerequisite_that_has_finished_does_not_hold_up<F: Fixture>(w: World<F>) {
    let first = w.submit(osis()).await;
    let runner = w.runner("a").await;
    w.run_next(&runner).await;
    let second = w.create_one(after(&[first])).await;
    assert_eq!(w.start(second, None).await.unwrap(), Dispatched);
    assert_eq!(w.queued().await, [second]);
}

async fn a_prerequisite_that_has_failed_fails_a_start<F: Fixture>(w: World<F>) {
    let first = w.submit(osis()).await;
    let second = w.create_one(after(&[first])).await;
    let third = w.submit(after(&[second])).await;
    w.stop(first, None).await.unwrap();
    assert_eq!(w.start(second, None).await.unwrap(), JobStatus::Error);
    w.settle().await;
    w.assert_failed(second, ErrorKind::PrerequisiteFailed).await;
    w.assert_failed(third, ErrorKind::PrerequisiteFailed).await;
    let submitted = w.submit(after(&[first])).await;
    w.assert_failed(submitted, ErrorKind::PrerequisiteFailed).await;
}

async fn a_deleted_prerequisite_fails_a_start<F: Fixture>(w: World<F>) {
    let first = w.submit(osis()).await;
    let second = w.create_one(after(&[first])).await;
    w.delete(first, None).await.unwrap();
    assert_eq!(w.start(second, None).await.unwrap(), JobStatus::Error);
    w.assert_failed(second, ErrorKind::PrerequisiteFailed).await;
}

async fn an_expired_prerequisite_fails_a_start<F: Fixture>(w: World<F>) {
    let first = w.submit(NewJob { retention_s: 60, ..osis() }).await;
    let runner = w.runner("a").await;
    w.run_next(&runner).await;
    let second = w.create_one(after(&[first])).await;
    w.advance(60_000).await;
    assert_eq!(w.start(second, None).await.unwrap(), JobStatus::Error);
    w.assert_failed(second, ErrorKind::PrerequisiteFailed).await;
}

async fn a_created_dependent_is_left_alone_until_its_start<F: Fixture>(w: World<F>) {
    let first = w.submit(osis()).await;
    let second = w.create_one(after(&[first])).await;
    let runner = w.runner("a").await;
    w.run_next(&runner).await;
    w.settle().await;
    let job = w.job(second).await;
    assert_eq!((job.status, job.queued_at), (Dispatched, None));
    assert_eq!(w.queued().await, []);
}

async fn three_hundred_dependents_are_released<F: Fixture>(w: World<F>) {
    let root = w.submit(osis()).await;
    let created = w.create(&vec![after(&[root]); 300], true).await.unwrap();
    let runner = w.runner("a").await;
    w.run_next(&runner).await;
    w.settle().await;
    let dependents: Vec<JobId> = created.into_iter().map(|it| it.id).collect();
    assert_eq!(w.queued().await, dependents, "in the order in which they began to wait");
    for id in dependents {
        assert_eq!(w.status_of(id).await, Dispatched);
    }
}

async fn three_hundred_dependents_fail<F: Fixture>(w: World<F>) {
    let root = w.submit(osis()).await;
    let created = w.create(&vec![after(&[root]); 300], true).await.unwrap();
    w.stop(root, None).await.unwrap();
    w.settle().await;
    for it in created {
        w.assert_failed(it.id, ErrorKind::PrerequisiteFailed).await;
    }
}

async fn a_fan_of_fans_is_released_in_steps<F: Fixture>(w: World<F>) {
    // 150 jobs on a root, 2 on each of those, and one on all: more than one bounded step at each level.
    let root = w.submit(osis()).await;
    let middle = w.create(&vec![after(&[root]); 150], true).await.unwrap();
    let middle: Vec<JobId> = middle.into_iter().map(|it| it.id).collect();
    let outer: Vec<NewJob> = middle.iter().flat_map(|id| [after(&[*id]), after(&[*id])]).collect();
    let outer: Vec<JobId> = w.create(&outer, true).await.unwrap().into_iter().map(|it| it.id).collect();
    let tip = w.submit(after(&outer)).await;
    let runner = w.runner("a").await;
    let ran = run_all(&w, &runner).await;
    assert_eq!(ran.len(), 1 + 150 + 300 + 1);
    assert_eq!(ran.last(), Some(&tip));
    for id in ran {
        let job = w.job(id).await;
        assert_eq!((job.status, job.attempt), (Finished, 1));
    }
}

async fn a_released_dependent_goes_to_its_own_queue<F: Fixture>(w: World<F>) {
    let root = w.submit(osis()).await;
    let other = NewJob { script_type: ScriptType::Python, priority: Priority::High, ..after(&[root]) };
    let other = w.submit(other).await;
    let runner = w.runner("a").await;
    w.run_next(&runner).await;
    let places = w.places().await;
    assert_eq!(
        places.queues.into_iter().collect::<Vec<_>>(),
        [((ScriptType::Python, None, Priority::High), vec![other])]
    );
}

async fn a_released_dependent_waits_for_its_own_time<F: Fixture>(w: World<F>) {
    let root = w.submit(osis()).await;
    let later = w.submit(NewJob { run_at: Some(at(60_000)), ..after(&[root]) }).await;
    assert_eq!(w.status_of(later).await, WaitingForPrerequisites);
    w.advance(100).await;
    let runner = w.runner("a").await;
    w.run_next(&runner).await;
    assert_eq!(w.status_of(later).await, Dispatched);
    assert_eq!(w.queued().await, []);
    w.advance(59_900).await;
    w.settle().await;
    assert_eq!(w.queued().await, [later]);
}

async fn a_stopped_dependent_is_not_released<F: Fixture>(w: World<F>) {
    let root = w.submit(osis()).await;
    let dependent = w.submit(after(&[root])).await;
    w.stop(dependent, None).await.unwrap();
    w.assert_failed(dependent, ErrorKind::Stopped).await;
    let runner = w.runner("a").await;
    w.run_next(&runner).await;
    w.settle().await;
    w.assert_failed(dependent, ErrorKind::Stopped).await;
    assert_eq!(w.queued().await, []);
}

async fn a_deleted_dependent_is_not_released<F: Fixture>(w: World<F>) {
    let root = w.submit(osis()).await;
    let dependent = w.submit(after(&[root])).await;
    w.delete(dependent, None).await.unwrap();
    let runner = w.runner("a").await;
    w.run_next(&runner).await;
    w.settle().await;
    assert!(w.status(dependent, None).await.is_err());
    assert_eq!(w.places().await, Default::default());
}

async fn a_dependent_that_came_back_under_its_id_is_not_released_by_the_old_wait<F: Fixture>(w: World<F>) {
    let (root, other) = (w.submit(osis()).await, w.create_one(osis()).await);
    let dependent = NewJob { id: Some(JobId::mint()), ..after(&[root]) };
    let id = w.submit(dependent.clone()).await;
    w.delete(id, None).await.unwrap();
    w.submit(NewJob { prerequisites: vec![other], ..dependent }).await;
    let runner = w.runner("a").await;
    assert_eq!(w.run_next(&runner).await, root);
    w.settle().await;
    assert_eq!(w.status_of(id).await, WaitingForPrerequisites, "it waits for another job now");
    assert_eq!(w.queued().await, []);
}

async fn a_retry_of_a_prerequisite_keeps_its_dependents_waiting<F: Fixture>(w: World<F>) {
    let root = w.submit(NewJob { retries: 1, ..osis() }).await;
    let dependent = w.submit(after(&[root])).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    w.fail(&runner, &claimed, ErrorKind::ScriptFailed).await;
    assert_eq!(w.status_of(dependent).await, WaitingForPrerequisites);
    w.advance(10_000).await;
    w.renew(&runner, 0, &[]).await.unwrap();
    w.settle().await;
    let runner = w.runner("b").await;
    assert_eq!(w.run_next(&runner).await, root);
    assert_eq!(w.queued().await, [dependent]);
}

async fn a_lost_prerequisite_fails_its_dependents<F: Fixture>(w: World<F>) {
    let root = w.submit(NewJob { max_deliveries: 1, ..osis() }).await;
    let dependent = w.submit(after(&[root])).await;
    let runner = w.runner("a").await;
    w.claim_one(&runner).await;
    w.advance(crate::world::LEASE_MS + 1).await;
    w.settle().await;
    w.assert_failed(root, ErrorKind::RunnerLost).await;
    w.assert_failed(dependent, ErrorKind::PrerequisiteFailed).await;
}

async fn dependents_are_told_while_they_wait<F: Fixture>(w: World<F>) {
    let root = w.submit(osis()).await;
    let first = w.submit(after(&[root])).await;
    let second = w.submit(after(&[root])).await;
    assert_eq!(w.job(root).await.dependents, [first, second]);
    assert_eq!(w.job(first).await.prerequisites, [root]);
}
