//! Against a peer of a few lines: what the ways promise when the other side misbehaves.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hero_client::{Client, Error, JobId, NewJob, Options, ScriptType};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixListener,
};

/// Answers each line by what `answer` makes of the call and its number; none: hangs up.
async fn peer(
    answer: impl Fn(usize, &Value) -> Option<String> + Send + Sync + 'static,
) -> (tempfile::TempDir, PathBuf, Arc<AtomicUsize>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (read, mut write) = stream.into_split();
            let mut lines = BufReader::new(read).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let call = serde_json::from_str(&line).unwrap();
                let Some(text) = answer(count.fetch_add(1, Ordering::SeqCst), &call) else { break };
                if write.write_all(text.as_bytes()).await.is_err() {
                    break;
                }
            }
        }
    });
    (folder, path, calls)
}

fn success(call: &Value, result: Value) -> Option<String> {
    Some(format!("{}\n", json!({"jsonrpc": "2.0", "id": call["id"], "result": result})))
}

fn client(path: &std::path::Path) -> Client {
    let options = Options {
        call_timeout: Duration::from_secs(5),
        retry_pause: Duration::from_millis(1),
        ..Options::default()
    };
    let address = format!("unix+lines://{}", path.display());
    Client::builder(address).secret("s3cret").options(options).build().unwrap()
}

#[tokio::test]
async fn where_there_are_no_headers_the_secret_travels_among_the_params() {
    let (_folder, path, _) = peer(|_, call| success(call, call["params"].clone())).await;
    let echoed: Value = client(&path).call("any", json!({"a": 1})).await.unwrap();
    assert_eq!(echoed, json!({"a": 1, "secret": "s3cret"}));
    let refused = client(&path).call::<Value>("any", json!([1])).await.unwrap_err();
    assert!(matches!(&refused, Error::Refused(words) if words.contains("name them")), "{refused}");
    assert!(!format!("{:?}", client(&path)).contains("s3cret"));
}

#[tokio::test]
async fn a_look_is_repeated_when_the_connection_is_lost_and_a_change_is_not() {
    let (_folder, path, calls) =
        peer(|number, call| if number < 2 { None } else { success(call, json!("me")) }).await;
    assert_eq!(client(&path).whoami().await.unwrap(), "me");
    assert_eq!(calls.load(Ordering::SeqCst), 3);

    let (_folder, path, calls) = peer(|_, _| None).await;
    let job = NewJob::new(ScriptType::Osis, "1");
    let lost = client(&path).submit_job(&job).await.unwrap_err();
    assert!(matches!(lost, Error::Unreachable { .. }), "{lost}");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_job_with_an_id_is_sent_again_and_its_existence_is_success() {
    let id = JobId::mint();
    let (_folder, path, calls) = peer(move |number, call| match number {
        0 => None,
        _ => Some(format!(
            "{}\n",
            json!({"jsonrpc": "2.0", "id": call["id"], "error": {
                "code": -32021, "message": "there", "data": {"reason": "JOB_EXISTS", "job_id": id},
            }})
        )),
    })
    .await;
    let job = NewJob { id: Some(id), ..NewJob::new(ScriptType::Osis, "1") };
    assert_eq!(client(&path).submit_job(&job).await.unwrap(), id);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_call_that_was_turned_away_is_made_again_whatever_it_does() {
    let (_folder, path, calls) = peer(|number, call| match number {
        0 => Some(format!(
            "{}\n",
            json!({"jsonrpc": "2.0", "id": call["id"], "error": {
                "code": -32040, "message": "slow down",
                "data": {"reason": "TOO_MANY_REQUESTS", "retry_after_ms": 1},
            }})
        )),
        _ => success(call, json!({"success": true})),
    })
    .await;
    assert!(client(&path).start_job(JobId::mint()).await.unwrap());
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_is_no_answer_is_told_as_such() {
    let (_folder, path, _) = peer(|_, call| success(call, json!(7))).await;
    let wrong = client(&path).whoami().await.unwrap_err();
    assert!(matches!(wrong, Error::Malformed { .. }), "{wrong}");
    for garbage in ["no json\n", "{\"jsonrpc\":\"2.0\"}\n"] {
        let (_folder, path, _) = peer(move |_, _| Some(garbage.to_owned())).await;
        let error = client(&path).start_job(JobId::mint()).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. } | Error::Malformed { .. }), "{error}");
    }
}

#[tokio::test]
async fn silence_ends_in_a_timeout_and_nobody_there_is_told_at_once() {
    let (_folder, path, _) = peer(|_, _| Some(String::new())).await;
    let options = Options { call_timeout: Duration::from_millis(50), ..Options::default() };
    let address = format!("unix+lines://{}", path.display());
    let client = Client::builder(&address).options(options).build().unwrap();
    let late = client.start_job(JobId::mint()).await.unwrap_err();
    assert_eq!(late, Error::Timeout { method: "start_job".into(), after_ms: 50 });

    let nobody = Client::builder("unix:///nonexistent/socket").build().unwrap();
    let away = nobody.start_job(JobId::mint()).await.unwrap_err();
    assert!(
        matches!(&away, Error::Unreachable { address, .. } if address.contains("/nonexistent")),
        "{away}"
    );
}

#[tokio::test]
async fn a_feed_brings_what_is_sent_and_needs_a_way_to_send_over() {
    let event = |number: u64, status: &str| {
        let result = json!({"event_id": format!("1-{number}"), "event": "current", "job_id": JobId::mint(),
            "status": status, "script_type": "OSIS", "progress": null});
        let params = json!({"subscription": 7, "result": result});
        format!("{}\n", json!({"jsonrpc": "2.0", "method": "job_event", "params": params}))
    };
    let (_folder, path, _) = peer(move |_, call| {
        let answer = success(call, if call["method"] == "subscribe_job" { json!(7) } else { json!(true) })?;
        Some(format!("{answer}{}{}", event(1, "Started"), event(2, "Finished")))
    })
    .await;
    let mut feed = client(&path).subscribe_job(JobId::mint(), None).await.unwrap();
    let first = feed.next().await.unwrap().unwrap();
    assert_eq!((first.event_id.as_str(), first.status.unwrap().as_str()), ("1-1", "Started"));
    assert_eq!(feed.next().await.unwrap().unwrap().status.unwrap().as_str(), "Finished");

    let over_http = Client::builder("http://127.0.0.1:9").build().unwrap();
    let refused = over_http.subscribe_logs(JobId::mint(), None).await.unwrap_err();
    assert!(matches!(&refused, Error::Refused(words) if words.contains("ws://")), "{refused}");
}
