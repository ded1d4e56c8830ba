//! Staying with a job: its log as it comes, then how it ended.

use std::time::Duration;

use hero_client::{Client, JobEvent, Subscription};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::script;
use crate::{
    args::{Run, Submit},
    failure::{Failure, Result},
    node::Node,
    show::{self, Show, between, first_line, json, note, text},
};

/// The pause between two looks at the log of a job that runs.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long the last lines may take when the job has ended.
const LAST_LINES: Duration = Duration::from_secs(2);
/// Looks at the log between two looks at how far the script says it is.
const LOOKS_AT_PROGRESS: u32 = 5;
/// Marks that a page of the log was cut.
const CUT: &str = "[cut here: the log goes on]\n";

pub(crate) async fn run(node: &Node, show: Show, run: &Run) -> Result {
    let id = submit_script(node, script::job(&run.script)?).await?;
    if run.quiet || show.json {
        let job = node.call("wait_job", json!([id])).await?;
        return tell_end(show, &job);
    }
    stay(node, show, &id).await
}

pub(crate) async fn submit(node: &Node, show: Show, submit: &Submit) -> Result {
    let id = submit_script(node, script::job(&submit.script)?).await?;
    if submit.follow {
        note(&format!("job {id}"));
        return stay(node, show, &id).await;
    }
    if show.json {
        json(&json!({"job_id": id}));
    } else {
        show::say(&id);
    }
    Ok(())
}

async fn submit_script(node: &Node, job: Value) -> Result<String> {
    let id = node.call("submit_job", json!([job])).await?;
    id.as_str()
        .map(str::to_owned)
        .ok_or_else(|| anyhow::anyhow!("the node answered a submit with {id}").into())
}

/// Shows a job's log as it comes, a sign of life meanwhile, and its end.
async fn stay(node: &Node, show: Show, id: &str) -> Result {
    let spinner = spinner(show, id);
    let tell = |lines: &str| spinner.suspend(|| show::write(lines));
    let followed = follow(node, id, tell, |progress| tell_progress(&spinner, progress)).await;
    spinner.finish_and_clear();
    let (mut job, printed) = followed?;
    // What a script prints is its output; it has been seen line by line.
    if !printed.is_empty() && text(&job, "output") == Some(&printed) && !show.json {
        job["output"] = Value::Null;
    }
    tell_end(show, &job)
}

/// Shows a job's log until it has ended.
pub(crate) async fn log(node: &Node, id: &str) -> Result<Value> {
    follow(node, id, show::write, |_| {}).await.map(|(job, _)| job)
}

/// Is told of each line where the node can tell; what it cannot is asked for again and again. In the end the whole log
/// is looked at once more, so that nothing is missed. The ended job, and what its script was heard to print.
async fn follow(
    node: &Node,
    id: &str,
    tell: impl Fn(&str),
    said: impl Fn(&Value),
) -> Result<(Value, String)> {
    let mut shown = 0;
    let mut printed = String::new();
    let mut looks = 0_u32;
    let mut job = None;
    let ended = async {
        loop {
            match node.call("wait_job", json!([id])).await {
                // The node does not wait for ever; we do.
                Err(Failure::Refused { reason, .. }) if reason.as_deref() == Some("WAIT_TIMEOUT") => {}
                answer => return answer,
            }
        }
    };
    tokio::pin!(ended);
    if let Some(listener) = node.listener() {
        let listening = listen(listener, id, (&mut shown, &mut printed), &tell, &said);
        tokio::pin!(listening);
        tokio::select! {
            () = &mut listening => {}
            end = &mut ended => {
                job = Some(end?);
                let _ = tokio::time::timeout(LAST_LINES, listening).await;
            }
        }
    }
    loop {
        if job.is_none() {
            tokio::select! {
                biased;
                end = &mut ended => job = Some(end?),
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
        let logs = node.call("get_job_logs", json!([id])).await?;
        let logs = text(&logs, "logs").unwrap_or_default();
        let whole = logs.strip_suffix(CUT).unwrap_or(logs);
        if let Some(new) = whole.get(shown..).filter(|new| !new.is_empty()) {
            tell(new);
            shown = whole.len();
        }
        if let Some(job) = job.take() {
            return Ok((job, printed));
        }
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(LOOKS_AT_PROGRESS) {
            said(&node.call("get_job", json!([id])).await?["progress"]);
        }
    }
}

/// Tells what comes into the log, until the job has ended or nothing more can be heard.
async fn listen(
    node: &Client,
    id: &str,
    (shown, printed): (&mut usize, &mut String),
    tell: &impl Fn(&str),
    said: &impl Fn(&Value),
) {
    let Ok(id) = id.parse() else { return };
    let Ok(mut log) = node.subscribe_logs(id, None).await else { return };
    let mut changes = node.subscribe_job(id, None).await.ok();
    loop {
        tokio::select! {
            biased;
            news = log.next() => {
                let Some(Ok(news)) = news else { return };
                let lines: String = news.lines.iter().flat_map(|line| [line.text.as_str(), "\n"]).collect();
                if !lines.is_empty() {
                    tell(&lines);
                    *shown += lines.len();
                    for line in news.lines.iter().filter(|line| line.stream == "stdout") {
                        printed.extend([line.text.as_str(), "\n"]);
                    }
                }
                if news.ended.is_some() {
                    return;
                }
            }
            change = next_change(&mut changes) => {
                change.more.get("progress").into_iter().for_each(said);
            }
        }
    }
}

async fn next_change(changes: &mut Option<Subscription<JobEvent>>) -> JobEvent {
    if let Some(feed) = changes
        && let Some(Ok(change)) = feed.next().await
    {
        return change;
    }
    *changes = None;
    std::future::pending().await
}

fn spinner(show: Show, id: &str) -> ProgressBar {
    if !show.live {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let spinner = ProgressBar::new_spinner().with_style(style).with_message(format!("job {id}"));
    spinner.enable_steady_tick(LOOK_AGAIN);
    spinner
}

/// How far the script says it is, as a bar in place of the spinner.
fn tell_progress(spinner: &ProgressBar, progress: &Value) {
    let Some(fraction) = progress["fraction"].as_f64() else { return };
    if spinner.length().is_none()
        && let Ok(style) = ProgressStyle::with_template("{spinner} [{bar:30}] {percent} % {msg} {elapsed}")
    {
        spinner.set_length(1_000);
        spinner.set_style(style.progress_chars("=> "));
    }
    // A script's words must not move the cursor.
    spinner.set_message(first_line(text(progress, "text").unwrap_or_default(), 40));
    spinner.set_position((fraction.clamp(0.0, 1.0) * 1e3) as u64);
}

/// The output of a finished job, or why it failed.
pub(crate) fn tell_end(show: Show, job: &Value) -> Result {
    let finished = text(job, "status") == Some("Finished");
    if show.json {
        json(job);
        return if finished { Ok(()) } else { Err(Failure::JobFailed) };
    }
    let output = text(job, "output").unwrap_or_default();
    show::write(output);
    if !output.is_empty() && !output.ends_with('\n') {
        show::write("\n");
    }
    if finished {
        return Ok(());
    }
    let kind = text(job, "error_kind").unwrap_or("failed");
    let took = between(text(job, "started_at"), text(job, "finished_at"));
    let after = if took.is_empty() { String::new() } else { format!(" after {took}") };
    note(&format!("job {} ended in error{after}: {kind}", text(job, "id").unwrap_or_default()));
    note(text(job, "error").unwrap_or_default());
    Err(Failure::JobFailed)
}
