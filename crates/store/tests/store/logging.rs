//! Logs: in order, page by page, up to a limit, and only from the current attempt.

use hero_domain::{JobId, LogLine, LogStream, NewJob, Progress};
use hero_store::{Error, JobStore, LogAppended, Outcome, Said};

use crate::{
    fixture::Fixture,
    world::{World, at, osis, report},
};

promises![
    a_new_job_has_an_empty_log,
    lines_are_kept_in_order,
    odd_text_survives_in_a_log,
    lines_that_are_brought_again_are_in_once,
    a_log_is_read_page_by_page,
    a_log_can_be_followed,
    one_long_line_is_one_page,
    a_log_has_a_limit_and_says_so,
    a_full_log_stays_full,
    a_stale_attempt_cannot_log,
    nobody_logs_to_a_job_that_does_not_run,
    the_log_goes_on_with_the_next_attempt,
    the_log_stays_after_the_end,
    a_place_that_is_none_is_refused,
    what_a_script_says_is_kept_until_the_next_attempt,
    a_stale_attempt_says_nothing,
];

fn lines(texts: &[&str]) -> Vec<(LogStream, String)> {
    texts.iter().map(|text| (LogStream::Stdout, (*text).to_owned())).collect()
}

/// A job that runs, by id.
async fn running<F: Fixture>(w: &World<F>) -> JobId {
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    w.claim_one(&runner).await;
    id
}

async fn texts<F: Fixture>(w: &World<F>, id: JobId) -> Vec<String> {
    let page = w.read_log(id, None, None, 1 << 20).await.unwrap();
    page.lines.into_iter().map(|line| line.text).collect()
}

async fn a_new_job_has_an_empty_log<F: Fixture>(w: World<F>) {
    let id = w.create_one(osis()).await;
    let page = w.read_log(id, None, None, 100).await.unwrap();
    assert_eq!((page.lines, page.next), (vec![], None));
    assert!(matches!(w.read_log(JobId::mint(), None, None, 100).await, Err(Error::JobNotFound(_))));
}

async fn lines_are_kept_in_order<F: Fixture>(w: World<F>) {
    let id = running(&w).await;
    let first = [(LogStream::Stdout, "one".to_owned()), (LogStream::Stderr, "two".to_owned())];
    assert_eq!(w.append_log(id, 1, 0, &first, 1_000).await.unwrap(), LogAppended::Taken);
    w.advance(5).await;
    w.append_log(id, 1, 2, &[(LogStream::Log, "three".to_owned())], 1_000).await.unwrap();
    let line = |stream, ms, text: &str| LogLine { stream, at: at(ms), text: text.to_owned() };
    let expected = vec![
        line(LogStream::Stdout, 0, "one"),
        line(LogStream::Stderr, 0, "two"),
        line(LogStream::Log, 5, "three"),
    ];
    assert_eq!(w.read_log(id, None, None, 1_000).await.unwrap().lines, expected);
}

async fn odd_text_survives_in_a_log<F: Fixture>(w: World<F>) {
    let id = running(&w).await;
    let odd = ["", "  ", "\u{0}\t\"'\\", "漢 🚀", "a: b", "line\nin a line"];
    w.append_log(id, 1, 0, &lines(&odd), 1_000).await.unwrap();
    assert_eq!(texts(&w, id).await, odd);
}

async fn lines_that_are_brought_again_are_in_once<F: Fixture>(w: World<F>) {
    // The answer was lost: the runner brings the same lines again, and more with them.
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    let first = w.claim_one(&runner).await;
    w.append_log(id, 1, 0, &lines(&["one", "two"]), 1_000).await.unwrap();
    let before = w.job(id).await;
    assert_eq!(w.append_log(id, 1, 0, &lines(&["one", "two"]), 1_000).await.unwrap(), LogAppended::Taken);
    assert_eq!(w.job(id).await, before);
    w.append_log(id, 1, 1, &lines(&["two", "three"]), 1_000).await.unwrap();
    // Lines may be missing, never repeated.
    w.append_log(id, 1, 5, &lines(&["six"]), 1_000).await.unwrap();
    w.append_log(id, 1, 3, &lines(&["four", "five", "six"]), 1_000).await.unwrap();
    assert_eq!(texts(&w, id).await, ["one", "two", "three", "six"]);
    // The next attempt counts its own.
    w.report(&runner, report(&first, Outcome::HandedBack)).await;
    w.claim_one(&runner).await;
    w.append_log(id, 2, 0, &lines(&["one"]), 1_000).await.unwrap();
    assert_eq!(texts(&w, id).await, ["one", "two", "three", "six", "one"]);
}

async fn a_log_is_read_page_by_page<F: Fixture>(w: World<F>) {
    let id = running(&w).await;
    let all: Vec<String> = (0..500).map(|n| format!("line {n:03}")).collect();
    for (n, some) in all.chunks(50).enumerate() {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        w.append_log(id, 1, 50 * n as u64, &lines(&some), 1 << 20).await.unwrap();
    }
    let (mut read, mut from, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = w.read_log(id, None, from.as_deref(), 200).await.unwrap();
        let bytes: usize = page.lines.iter().map(|line| line.text.len()).sum();
        assert!(bytes <= 400, "about 200 bytes a page, not {bytes}");
        read.extend(page.lines.into_iter().map(|line| line.text));
        pages += 1;
        match page.next {
            Some(next) => from = Some(next),
            None => break,
        }
    }
    assert_eq!(read, all);
    assert!((10..=30).contains(&pages), "{pages} pages");
}

async fn a_log_can_be_followed<F: Fixture>(w: World<F>) {
    // A page in the middle of a growing log: what is appended later comes after it, once.
    let id = running(&w).await;
    w.append_log(id, 1, 0, &lines(&["0123456789", "0123456789", "0123456789"]), 1_000).await.unwrap();
    let page = w.read_log(id, None, None, 10).await.unwrap();
    w.append_log(id, 1, 3, &lines(&["later"]), 1_000).await.unwrap();
    let rest = w.read_log(id, None, page.next.as_deref(), 1_000).await.unwrap();
    assert_eq!(page.lines.len() + rest.lines.len(), 4);
    assert_eq!(rest.lines.last().unwrap().text, "later");
}

async fn one_long_line_is_one_page<F: Fixture>(w: World<F>) {
    let id = running(&w).await;
    let long = "x".repeat(5_000);
    w.append_log(id, 1, 0, &lines(&[&long, "next"]), 1 << 20).await.unwrap();
    let page = w.read_log(id, None, None, 10).await.unwrap();
    assert_eq!(page.lines.len(), 1, "a page makes progress, however small");
    assert_eq!(page.lines[0].text, long);
    let rest = w.read_log(id, None, page.next.as_deref(), 10).await.unwrap();
    assert_eq!(rest.lines[0].text, "next");
}

async fn a_log_has_a_limit_and_says_so<F: Fixture>(w: World<F>) {
    let id = running(&w).await;
    let some = lines(&["0123456789", "0123456789", "0123456789", "0123456789"]);
    assert_eq!(w.append_log(id, 1, 0, &some, 30).await.unwrap(), LogAppended::Full);
    let texts = texts(&w, id).await;
    assert_eq!(texts[..3], ["0123456789", "0123456789", "0123456789"]);
    assert_eq!(texts.len(), 4);
    assert!(texts[3].contains("30"), "the log names its limit: {}", texts[3]);
    let last = w.read_log(id, None, None, 1_000).await.unwrap().lines.pop().unwrap();
    assert_eq!(last.stream, LogStream::Log);
}

async fn a_full_log_stays_full<F: Fixture>(w: World<F>) {
    let id = running(&w).await;
    assert_eq!(w.append_log(id, 1, 0, &lines(&["0123456789"]), 15).await.unwrap(), LogAppended::Taken);
    assert_eq!(w.append_log(id, 1, 1, &lines(&["0123456789"]), 15).await.unwrap(), LogAppended::Full);
    let before = texts(&w, id).await;
    for _ in 0..3 {
        // A short line would fit; but a log with a hole in it would mislead.
        assert_eq!(w.append_log(id, 1, 2, &lines(&["x"]), 15).await.unwrap(), LogAppended::Full);
    }
    assert_eq!(texts(&w, id).await, before);
}

async fn a_stale_attempt_cannot_log<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    let first = w.claim_one(&runner).await;
    w.report(&runner, report(&first, Outcome::HandedBack)).await;
    w.claim_one(&runner).await;
    assert_eq!(w.append_log(id, 1, 0, &lines(&["late"]), 100).await.unwrap(), LogAppended::Refused);
    assert_eq!(w.append_log(id, 2, 0, &lines(&["now"]), 100).await.unwrap(), LogAppended::Taken);
    assert_eq!(texts(&w, id).await, ["now"]);
}

async fn nobody_logs_to_a_job_that_does_not_run<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    assert_eq!(w.append_log(id, 0, 0, &lines(&["early"]), 100).await.unwrap(), LogAppended::Refused);
    assert_eq!(w.append_log(JobId::mint(), 1, 0, &lines(&["who"]), 100).await.unwrap(), LogAppended::Refused);
    let runner = w.runner("a").await;
    w.run_next(&runner).await;
    assert_eq!(w.append_log(id, 1, 0, &lines(&["late"]), 100).await.unwrap(), LogAppended::Refused);
    assert_eq!(texts(&w, id).await, Vec::<String>::new());
}

async fn the_log_goes_on_with_the_next_attempt<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    let runner = w.runner("a").await;
    for attempt in 1..=2 {
        let claimed = w.claim_one(&runner).await;
        w.append_log(id, attempt, 0, &lines(&[&format!("attempt {attempt}")]), 100).await.unwrap();
        w.report(&runner, report(&claimed, Outcome::HandedBack)).await;
    }
    assert_eq!(texts(&w, id).await, ["attempt 1", "attempt 2"]);
}

async fn the_log_stays_after_the_end<F: Fixture>(w: World<F>) {
    let id = w.submit(NewJob { retention_s: 60, ..osis() }).await;
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    w.append_log(id, 1, 0, &lines(&["kept"]), 100).await.unwrap();
    w.finish(&runner, &claimed).await;
    assert_eq!(texts(&w, id).await, ["kept"]);
    w.advance(60_000).await;
    assert!(matches!(w.read_log(id, None, None, 100).await, Err(Error::JobNotFound(_))));
}

async fn a_place_that_is_none_is_refused<F: Fixture>(w: World<F>) {
    let id = running(&w).await;
    for from in ["", "x", "-", "+", "$", "1 2", "(1-0", "\n"] {
        let error = w.read_log(id, None, Some(from), 100).await.unwrap_err();
        assert!(matches!(error, Error::LogPlaceUnknown(_)), "{from:?}: {error:?}");
    }
}

fn progress(fraction: f64, text: &str) -> Said {
    Said { progress: Some(Progress::new(fraction, text)), result: None }
}

async fn what_a_script_says_is_kept_until_the_next_attempt<F: Fixture>(w: World<F>) {
    let id = w.submit(NewJob { retries: 1, ..osis() }).await;
    let runner = w.runner("a").await;
    let first = w.claim_one(&runner).await;
    let job = w.get(id, None).await.unwrap();
    assert_eq!((job.progress, job.result), (None, None));
    assert!(w.say(id, 1, &progress(0.25, "a quarter")).await.unwrap());
    let result = Said { progress: None, result: Some("{\"a\":[]}".to_owned()) };
    assert!(w.say(id, 1, &result).await.unwrap());
    let job = w.get(id, None).await.unwrap();
    assert_eq!(job.progress, Some(Progress { per_mille: 250, text: "a quarter".to_owned() }));
    assert_eq!(job.result.as_deref(), Some("{\"a\":[]}"));

    w.report(&runner, report(&first, Outcome::HandedBack)).await;
    let job = w.get(id, None).await.unwrap();
    assert_eq!((job.progress, job.result), (None, None), "it begins anew");
    let second = w.claim_one(&runner).await;
    assert!(w.say(id, 2, &progress(1.0, "")).await.unwrap());
    w.finish(&runner, &second).await;
    let job = w.get(id, None).await.unwrap();
    assert_eq!(job.progress, Some(Progress { per_mille: 1000, text: String::new() }));
    assert_eq!(job.result, None);
}

async fn a_stale_attempt_says_nothing<F: Fixture>(w: World<F>) {
    let id = w.submit(osis()).await;
    assert!(!w.say(id, 0, &progress(0.5, "early")).await.unwrap());
    assert!(!w.say(JobId::mint(), 1, &progress(0.5, "who")).await.unwrap());
    let runner = w.runner("a").await;
    let claimed = w.claim_one(&runner).await;
    assert!(!w.say(id, 2, &progress(0.5, "another")).await.unwrap());
    w.finish(&runner, &claimed).await;
    assert!(!w.say(id, 1, &progress(0.5, "late")).await.unwrap());
    assert_eq!(w.get(id, None).await.unwrap().progress, None);
}
