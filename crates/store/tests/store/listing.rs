//! Lists: newest first, every filter, page by page.

use hero_domain::{ErrorKind, JobFilter, JobId, JobStatus, NewJob, ScriptType};
use hero_store::JobStore;

use crate::{
    fixture::Fixture,
    world::{World, after, at, of_context, osis},
};

promises![
    a_list_is_newest_first,
    a_list_has_at_most_its_limit,
    a_list_without_a_limit_has_a_default_page,
    pages_cover_every_job_once,
    pages_go_on_after_a_delete,
    pages_do_not_repeat_what_came_in_between,
    the_last_page_says_so,
    a_list_by_status,
    a_list_by_status_page_by_page,
    a_list_by_type,
    a_list_by_context,
    a_list_by_caller,
    a_list_by_time,
    a_list_by_everything_at_once,
    a_rare_match_among_many_is_found,
    ids_of_any_version_are_listed_in_order,
];

/// Every page of a filter; no page but the last may be empty of a cursor.
async fn pages<F: Fixture>(w: &World<F>, filter: &JobFilter) -> Vec<JobId> {
    let mut filter = filter.clone();
    let mut all = Vec::new();
    for _ in 0..10_000 {
        let page = w.list(&filter).await.unwrap();
        assert!(page.ids.len() <= filter.limit.unwrap_or(100));
        all.extend(page.ids);
        match page.next_cursor {
            None => return all,
            Some(cursor) => {
                assert_eq!(Some(&cursor), all.last(), "a cursor is the last id of its page");
                filter.cursor = Some(cursor);
            }
        }
    }
    panic!("the pages do not come to an end");
}

fn limit(limit: usize) -> JobFilter {
    JobFilter { limit: Some(limit), ..JobFilter::default() }
}

fn newest_first(mut ids: Vec<JobId>) -> Vec<JobId> {
    ids.reverse();
    ids
}

async fn a_list_is_newest_first<F: Fixture>(w: World<F>) {
    let mut ids = w.submit_many(3).await;
    w.advance(1).await;
    ids.extend(w.submit_many(2).await);
    assert_eq!(w.list(&JobFilter::default()).await.unwrap().ids, newest_first(ids));
}

async fn a_list_has_at_most_its_limit<F: Fixture>(w: World<F>) {
    let ids = w.submit_many(5).await;
    let page = w.list(&limit(2)).await.unwrap();
    assert_eq!((page.ids, page.next_cursor), (vec![ids[4], ids[3]], Some(ids[3])));
}

async fn a_list_without_a_limit_has_a_default_page<F: Fixture>(w: World<F>) {
    let ids = w.submit_many(101).await;
    let page = w.list(&JobFilter::default()).await.unwrap();
    assert_eq!((page.ids.len(), page.next_cursor), (100, Some(ids[1])));
}

async fn pages_cover_every_job_once<F: Fixture>(w: World<F>) {
    let ids = newest_first(w.submit_many(250).await);
    for size in [1, 7, 100, 250, 1_000] {
        assert_eq!(pages(&w, &limit(size)).await, ids, "pages of {size}");
    }
}

async fn pages_go_on_after_a_delete<F: Fixture>(w: World<F>) {
    let ids = newest_first(w.submit_many(10).await);
    let page = w.list(&limit(4)).await.unwrap();
    // Before, after, and on the other side of the cursor.
    for index in [0, 2, 5, 9] {
        w.delete(ids[index], None).await.unwrap();
    }
    let rest = pages(&w, &JobFilter { cursor: page.next_cursor, ..limit(4) }).await;
    assert_eq!(rest, [ids[4], ids[6], ids[7], ids[8]]);
}

async fn pages_do_not_repeat_what_came_in_between<F: Fixture>(w: World<F>) {
    let ids = newest_first(w.submit_many(6).await);
    let page = w.list(&limit(3)).await.unwrap();
    w.submit_many(5).await;
    let rest = pages(&w, &JobFilter { cursor: page.next_cursor, ..limit(3) }).await;
    assert_eq!(rest, ids[3..]);
}

async fn the_last_page_says_so<F: Fixture>(w: World<F>) {
    let ids = newest_first(w.submit_many(3).await);
    let page = w.list(&limit(10)).await.unwrap();
    assert_eq!((page.ids, page.next_cursor), (ids, None));
    assert_eq!(w.list(&JobFilter { context_id: Some("none".into()), ..limit(10) }).await.unwrap().ids, []);
}

async fn a_list_by_status<F: Fixture>(w: World<F>) {
    let done = w.submit_many(2).await;
    let runner = w.runner("a").await;
    w.run_next(&runner).await;
    let claimed = w.claim_one(&runner).await;
    w.fail(&runner, &claimed, ErrorKind::ScriptFailed).await;
    let running = w.submit(osis()).await;
    w.claim_one(&runner).await;
    let queued = w.submit(osis()).await;
    let waiting = w.submit(after(&[queued])).await;
    let created = w.create_one(osis()).await;
    let expected = [
        (JobStatus::Finished, vec![done[0]]),
        (JobStatus::Error, vec![done[1]]),
        (JobStatus::Started, vec![running]),
        (JobStatus::WaitingForPrerequisites, vec![waiting]),
        (JobStatus::Dispatched, vec![created, queued]),
    ];
    for (status, ids) in expected {
        let filter = JobFilter { status: Some(status), ..JobFilter::default() };
        assert_eq!(w.list(&filter).await.unwrap().ids, ids, "{status}");
    }
}

async fn a_list_by_status_page_by_page<F: Fixture>(w: World<F>) {
    let runner = w.runner("a").await;
    let root = w.create_one(osis()).await;
    let mut of_status = std::collections::BTreeMap::<JobStatus, Vec<JobId>>::new();
    of_status.entry(JobStatus::Dispatched).or_default().push(root);
    for _ in 0..12 {
        w.advance(1).await;
        let ids = w.submit_many(2).await;
        let claimed = w.claim(&runner, 2).await;
        w.finish(&runner, &claimed[0]).await;
        w.fail(&runner, &claimed[1], ErrorKind::ScriptFailed).await;
        of_status.entry(JobStatus::Finished).or_default().push(ids[0]);
        of_status.entry(JobStatus::Error).or_default().push(ids[1]);
        let running = w.submit(osis()).await;
        w.claim_one(&runner).await;
        of_status.entry(JobStatus::Started).or_default().push(running);
        let waiting = w.submit(after(&[root])).await;
        of_status.entry(JobStatus::WaitingForPrerequisites).or_default().push(waiting);
    }
    for (status, ids) in of_status {
        for size in [1, 5, 12, 100] {
            let filter = JobFilter { status: Some(status), ..limit(size) };
            assert_eq!(pages(&w, &filter).await, newest_first(ids.clone()), "{status}, pages of {size}");
        }
    }
}

async fn a_list_by_type<F: Fixture>(w: World<F>) {
    w.submit(osis()).await;
    let python = w.submit(NewJob { script_type: ScriptType::Python, ..osis() }).await;
    let filter = JobFilter { script_type: Some(ScriptType::Python), ..JobFilter::default() };
    assert_eq!(w.list(&filter).await.unwrap().ids, [python]);
}

async fn a_list_by_context<F: Fixture>(w: World<F>) {
    let mut mine = Vec::new();
    for _ in 0..30 {
        mine.push(w.submit(of_context("mine")).await);
        w.submit(of_context("theirs")).await;
    }
    let filter = JobFilter { context_id: Some("mine".to_owned()), ..limit(7) };
    assert_eq!(pages(&w, &filter).await, newest_first(mine));
}

async fn a_list_by_caller<F: Fixture>(w: World<F>) {
    w.submit(osis()).await;
    let mia = w.submit(NewJob { caller_id: "mia".to_owned(), ..osis() }).await;
    let filter = JobFilter { caller_id: Some("mia".to_owned()), ..JobFilter::default() };
    assert_eq!(w.list(&filter).await.unwrap().ids, [mia]);
}

async fn a_list_by_time<F: Fixture>(w: World<F>) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(w.submit(osis()).await);
        w.advance(10).await;
    }
    for (after, before, expected) in [
        (Some(20), None, &ids[2..]),
        (Some(21), None, &ids[3..]),
        (None, Some(20), &ids[..3]),
        (None, Some(19), &ids[..2]),
        (Some(10), Some(30), &ids[1..4]),
        (Some(11), Some(19), &ids[..0]),
    ] {
        let filter = JobFilter { created_after: after.map(at), created_before: before.map(at), ..limit(2) };
        let expected = newest_first(expected.to_vec());
        assert_eq!(pages(&w, &filter).await, expected, "{after:?} to {before:?}");
    }
}

async fn a_list_by_everything_at_once<F: Fixture>(w: World<F>) {
    let wanted = NewJob { caller_id: "mia".to_owned(), script_type: ScriptType::Sal, ..of_context("mine") };
    w.submit(wanted.clone()).await;
    w.advance(10).await;
    let created = [
        NewJob { context_id: "theirs".to_owned(), ..wanted.clone() },
        NewJob { caller_id: "bob".to_owned(), ..wanted.clone() },
        NewJob { script_type: ScriptType::V, ..wanted.clone() },
        wanted.clone(),
        wanted.clone(),
    ];
    let created = w.create(&created, true).await.unwrap();
    w.stop(created[4].id, None).await.unwrap();
    w.advance(10).await;
    w.submit(wanted).await;
    let filter = JobFilter {
        status: Some(JobStatus::Dispatched),
        script_type: Some(ScriptType::Sal),
        context_id: Some("mine".to_owned()),
        caller_id: Some("mia".to_owned()),
        created_after: Some(at(5)),
        created_before: Some(at(15)),
        ..limit(10)
    };
    assert_eq!(w.list(&filter).await.unwrap().ids, [created[3].id]);
}

async fn a_rare_match_among_many_is_found<F: Fixture>(w: World<F>) {
    let rare = w.submit(NewJob { caller_id: "mia".to_owned(), ..osis() }).await;
    w.submit_many(1_000).await;
    w.submit_many(1_000).await;
    for filter in [
        JobFilter { caller_id: Some("mia".to_owned()), ..limit(1) },
        JobFilter { caller_id: Some("mia".to_owned()), status: Some(JobStatus::Dispatched), ..limit(5) },
    ] {
        assert_eq!(w.list(&filter).await.unwrap().ids, [rare]);
    }
}

async fn ids_of_any_version_are_listed_in_order<F: Fixture>(w: World<F>) {
    // Version 4 ids do not sort by time; the order of creation must not depend on that they do.
    let brought = [
        "ffffffff-58a4-4f6e-9d5a-2b8a4d1b7c11",
        "00000000-58a4-4f6e-9d5a-2b8a4d1b7c11",
        "9f0c3e6a-58a4-4f6e-9d5a-2b8a4d1b7c11",
    ];
    let mut ids = Vec::new();
    for id in brought {
        ids.push(w.submit(NewJob { id: Some(id.parse().unwrap()), ..osis() }).await);
        ids.extend(w.submit_many(1).await);
    }
    for size in [1, 2, 10] {
        assert_eq!(pages(&w, &limit(size)).await, newest_first(ids.clone()));
    }
}
