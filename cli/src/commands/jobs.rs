//! Jobs, one by one and many: list, show, explain, wait, stop, retry, remove.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{agreed, script::name_of};
use crate::{
    args::{Filter, Jobs, Logs, ManyJobs, Remove, Retry, Wait},
    failure::{Failure, Result},
    node::Node,
    show::{Show, age, between, first_line, json, note, say, text},
};

/// The pause between two looks of `--watch`.
const WATCH: Duration = Duration::from_secs(1);
/// How many jobs are read at a time for a list.
const AT_A_TIME: usize = 50;
/// The status column and its neighbours leave about this much for the last one.
const LAST_COLUMN: usize = 50;

fn params(filter: &Filter) -> Map<String, Value> {
    let given = [
        ("status", filter.status.clone().map(Value::from)),
        ("error_kind", filter.error_kind.clone().map(Value::from)),
        ("script_type", filter.language.map(|language| name_of(language).into())),
        ("context_id", filter.context_id.clone().map(Value::from)),
        ("caller_id", filter.caller_id.clone().map(Value::from)),
        ("created_after", filter.since.clone().map(Value::from)),
        ("created_before", filter.before.clone().map(Value::from)),
        ("limit", Some(filter.limit.into())),
    ];
    given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

pub(crate) async fn list(node: &Node, show: Show, jobs: &Jobs) -> Result {
    loop {
        let page = page(node, jobs).await?;
        if jobs.watch && show.live {
            // Home, and clear what is below: the picture stays where it is.
            crate::show::write("\u{1b}[H\u{1b}[2J");
        }
        if show.json {
            json(&page.into());
        } else {
            show.table(
                &["JOB", "STATUS", "TYPE", "CREATED", "TOOK", "OUTPUT OR ERROR"],
                page.iter().map(|job| row(show, job)).collect(),
                "no jobs; `hero run FILE` runs one",
            );
        }
        if !jobs.watch {
            return Ok(());
        }
        tokio::time::sleep(WATCH).await;
    }
}

/// The jobs of a page, whole. One that was deleted meanwhile is left out.
async fn page(node: &Node, jobs: &Jobs) -> Result<Vec<Value>> {
    let mut filter = params(&jobs.filter);
    if let Some(cursor) = &jobs.cursor {
        filter.insert("cursor".to_owned(), json!(cursor));
    }
    let ids = node.call("list_jobs", json!([filter])).await?;
    let ids: Vec<&Value> = ids.as_array().into_iter().flatten().collect();
    let mut whole = Vec::with_capacity(ids.len());
    for some in ids.chunks(AT_A_TIME) {
        let calls = some.iter().map(|id| node.call("get_job", json!([id])));
        for answer in futures::future::join_all(calls).await {
            match answer {
                Ok(job) => whole.push(job),
                Err(Failure::Refused { reason, .. }) if reason.as_deref() == Some("JOB_NOT_FOUND") => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(whole)
}

fn row(show: Show, job: &Value) -> Vec<String> {
    let of = |name| text(job, name);
    let words = of("error").or(of("output")).unwrap_or_default();
    vec![
        of("id").unwrap_or_default().to_owned(),
        show.status(of("status").unwrap_or_default()),
        of("script_type").unwrap_or_default().to_owned(),
        age(of("created_at")),
        between(of("started_at"), of("finished_at")),
        first_line(words, LAST_COLUMN),
    ]
}

pub(crate) async fn show_one(node: &Node, show: Show, id: &str) -> Result {
    let job = node.call("get_job", json!([id])).await?;
    if show.json {
        json(&job);
        return Ok(());
    }
    let of = |name| text(&job, name).map(str::to_owned);
    let when = |name| text(&job, name).map(|time| format!("{time}  {}", show.dim(&age(Some(time)))));
    let many = |name: &str| {
        let ids: Vec<&str> = job[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        (!ids.is_empty()).then(|| ids.join("\n"))
    };
    let failed =
        job["error_kind"].as_str().map(|kind| format!("{kind}: {}", text(&job, "error").unwrap_or_default()));
    show.facts(&[
        ("job", of("id")),
        ("status", of("status").map(|status| show.status(&status))),
        ("type", of("script_type")),
        ("caller", of("caller_id")),
        ("context", of("context_id")),
        ("created", when("created_at")),
        ("queued", when("queued_at")),
        ("started", when("started_at")),
        ("ended", when("finished_at")),
        (
            "took",
            Some(between(text(&job, "started_at"), text(&job, "finished_at")))
                .filter(|took| !took.is_empty()),
        ),
        ("attempt", job["attempt"].as_u64().filter(|n| *n > 1).map(|n| n.to_string())),
        ("runner", of("runner_id")),
        ("waits for", many("prerequisites")),
        ("then", many("dependents")),
        ("error", failed),
        ("output", of("output").filter(|output| !output.is_empty())),
        ("script", of("script")),
    ]);
    Ok(())
}

pub(crate) async fn explain(node: &Node, show: Show, id: &str) -> Result {
    let explanation = node.call("explain_job", json!([id])).await?;
    if show.json {
        json(&explanation);
        return Ok(());
    }
    say(&show.status(text(&explanation, "status").unwrap_or_default()));
    for reason in explanation["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        say(&format!("  {reason}"));
    }
    Ok(())
}

pub(crate) async fn logs(node: &Node, show: Show, logs: &Logs) -> Result {
    if logs.follow {
        return super::follow::log(node, &logs.job_id).await.map(|_| ());
    }
    let answer = node.call("get_job_logs", json!([logs.job_id])).await?;
    if show.json {
        json(&answer);
    } else {
        crate::show::write(text(&answer, "logs").unwrap_or_default());
    }
    Ok(())
}

pub(crate) async fn wait(node: &Node, show: Show, wait: &Wait) -> Result {
    let mut params = json!({"job_id": wait.job_id});
    if let Some(timeout) = wait.timeout {
        params["timeout"] = json!(timeout);
    }
    let job = node.call("wait_job", params).await?;
    super::follow::tell_end(show, &job)
}

pub(crate) async fn stop(node: &Node, show: Show, jobs: &ManyJobs) -> Result {
    each(show, &jobs.job_ids, "stopped", |id| node.call("stop_job", json!([id]))).await
}

pub(crate) async fn retry(node: &Node, show: Show, retry: &Retry) -> Result {
    if !retry.all {
        return each(show, &retry.job_ids, "started again", |id| node.call("retry_job", json!([id]))).await;
    }
    let started = node.call("retry_jobs", json!([params(&retry.filter)])).await?;
    if show.json {
        json(&started);
        return Ok(());
    }
    let ids: Vec<&str> = started.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    ids.iter().for_each(|id| say(id));
    note(&format!(
        "{} jobs started again{}",
        ids.len(),
        if ids.len() < retry.filter.limit { "" } else { "; there may be more" }
    ));
    Ok(())
}

pub(crate) async fn remove(node: &Node, show: Show, remove: &Remove) -> Result {
    if !remove.all {
        return each(show, &remove.job_ids, "deleted", |id| node.call("delete_job", json!([id]))).await;
    }
    if !remove.yes && !agreed("Delete every job that you may see, with its log? Running ones are stopped.")? {
        return Err(Failure::Usage("nothing was deleted".to_owned()));
    }
    node.call("clear_all_jobs", json!([])).await?;
    note("all jobs deleted");
    Ok(())
}

/// The same for each job; the first failure is told at the end, the others are done nevertheless.
async fn each<F: Future<Output = Result<Value>>>(
    show: Show,
    ids: &[String],
    done: &str,
    call: impl Fn(String) -> F,
) -> Result {
    let mut failed = None;
    let mut answers = Map::new();
    for id in ids {
        match call(id.clone()).await {
            Ok(answer) => {
                if !show.json {
                    say(&format!("{id} {done}"));
                }
                answers.insert(id.clone(), answer);
            }
            Err(failure) => {
                note(&format!("{id}: {failure}"));
                failed.get_or_insert(failure);
            }
        }
    }
    if show.json {
        json(&answers.into());
    }
    failed.map_or(Ok(()), Err)
}
