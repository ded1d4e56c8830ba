//! Calls to other nodes, as the services of this one make them.

use std::time::Duration;

use hero_client::mycelium::{Daemon, DaemonOptions};
use hero_domain::{
    Caller, Destination, NodeAnswer, OverlayCall, OverlayState, Reason, Scope, ports::Overlay as _,
};
use hero_testing::{eventually, mycelium::FakeDaemon};
use serde_json::json;

use crate::setup::{PATIENCE, Running, Story, TOPIC};

fn call(to: Destination, method: &str, params: serde_json::Value) -> OverlayCall {
    let params = (!params.is_null()).then(|| params.to_string());
    OverlayCall { to, topic: None, method: method.to_owned(), params, secret: None, timeout_ms: None }
}

fn caller(scope: Scope) -> Caller {
    Caller { name: "ops".into(), scope, circle: None }
}

fn to(daemon: &FakeDaemon) -> Destination {
    Destination::Pk(daemon.pk().parse().unwrap())
}

/// The node of the stories, and a second one that has a bridge of its own and calls it.
async fn two() -> (Story, Running, Running) {
    let story = Story::begin().await;
    let (there, here) = (story.bridge().await, story.bridge_here().await);
    (story, there, here)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_is_called_by_key_and_by_address_and_its_answer_comes_back() {
    let (story, there, here) = two().await;
    let within = |ip: std::net::Ipv6Addr| {
        let mut segments = ip.segments();
        segments[7] ^= 0x77;
        Destination::Ip(segments.into())
    };
    for to in [to(&story.there), Destination::Ip(story.there.ip()), within(story.there.ip())] {
        let who = here.overlay.call(&Caller::local(), call(to, "whoami", json!(null))).await.unwrap();
        assert_eq!(who, NodeAnswer::Result(format!("\"mycelium:{} (user)\"", story.here.pk())));
    }
    let gone = call(to(&story.there), "get_job", json!([hero_client::JobId::mint()]));
    let NodeAnswer::Error(error) = here.overlay.call(&Caller::local(), gone).await.unwrap() else {
        panic!("there is no such job")
    };
    assert!(error.contains("JOB_NOT_FOUND"), "the node's own error: {error}");
    let own = here.overlay.status(&Caller::local(), None).await.unwrap();
    assert_eq!((own.public_key.to_string(), own.ip), (story.here.pk(), Some(story.here.ip())));
    assert_eq!((own.topic.as_str(), own.message), (TOPIC, None));
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_beside_the_method_opens_what_the_key_does_not() {
    let story = Story::begin().await;
    let there = story.bridge_with(|config| config.peers.clear()).await;
    there.ready().await;
    let here = story.bridge_here().await;
    story.ports.add_key("s3cret", caller(Scope::Admin));
    let mut who = call(to(&story.there), "get_job_status", json!([hero_client::JobId::mint()]));
    let reason = async |call: &OverlayCall| match here.overlay.call(&Caller::local(), call.clone()).await {
        Ok(NodeAnswer::Error(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(reason(&who).await.contains("AUTHENTICATION_REQUIRED"));
    who.secret = Some("s3cret".into());
    assert!(reason(&who).await.contains("JOB_NOT_FOUND"), "positional params, and a secret");
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_this_very_node_stays_here() {
    let (story, there, here) = two().await;
    let mut aside = story.here.ip().segments();
    aside[7] ^= 1;
    for own in [to(&story.here), Destination::Ip(story.here.ip()), Destination::Ip(aside.into())] {
        let asked = call(own.clone(), "whoami", json!({"secret": "of no use here"}));
        let who = here.overlay.call(&caller(Scope::User), asked).await.unwrap();
        assert_eq!(who, NodeAnswer::Result("\"ops (user)\"".into()), "in the caller's own name");
        let id = here.overlay.send(&caller(Scope::User), call(own, "whoami", json!(null))).await.unwrap();
        assert_eq!(answer_to(&here, &id).await, who);
    }
    assert_eq!(story.there.unread(), 0);
    here.stop().await;
    there.stop().await;
}

async fn answer_to(bridge: &Running, id: &str) -> NodeAnswer {
    let answer = std::cell::RefCell::new(None);
    eventually("the answer is there", PATIENCE, async || {
        let status = bridge.overlay.status(&Caller::local(), Some(id.to_owned())).await.unwrap();
        answer.replace(status.message.unwrap().answer);
        answer.borrow().is_some()
    })
    .await;
    answer.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_is_followed_and_its_answer_kept() {
    let (mut story, there, here) = two().await;
    let state = async |id: &str| {
        let status = here.overlay.status(&Caller::local(), Some(id.to_owned())).await.unwrap();
        status.message.unwrap().state
    };
    let run = call(to(&story.there), "run_job", json!(["40 + 2", "OSIS"]));
    let id = here.overlay.send(&caller(Scope::User), run.clone()).await.unwrap();
    assert_eq!(answer_to(&here, &id).await, NodeAnswer::Result("\"40 + 2\"".into()));
    assert_eq!(state(&id).await, OverlayState::Received);
    assert_eq!(state("00000000deadbeef").await, OverlayState::Unknown, "never sent");

    there.stop().await;
    story.there.stop().await;
    let id = here.overlay.send(&caller(Scope::User), run).await.unwrap();
    assert_eq!(state(&id).await, OverlayState::Pending);
    // Somebody else's answer to it is not believed.
    let other = story.overlay.daemon().await.unwrap();
    let other = Daemon::new(&other.url(), DaemonOptions::default()).unwrap();
    let spoofed = br#"{"jsonrpc":"2.0","id":1,"result":"spoofed"}"#;
    other.reply(&id, &story.here.pk().parse().unwrap(), spoofed).await.unwrap();
    eventually("the spoofed one is gone", PATIENCE, async || story.here.unread() == 0).await;
    story.overlay.advance(Duration::from_secs(301));
    assert_eq!(state(&id).await, OverlayState::Aborted);
    here.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_calls_more_over_the_overlay_than_here() {
    let (story, there, here) = two().await;
    let reason = async |caller: Caller, call: OverlayCall| {
        here.overlay.call(&caller, call).await.unwrap_err().reason()
    };
    let whoami = call(to(&story.there), "whoami", json!(null));
    let list_keys = call(to(&story.there), "list_keys", json!([]));
    assert_eq!(reason(caller(Scope::User), list_keys).await, Reason::ScopeInsufficient);
    let vms = call(to(&story.there), "vm_list", json!([]));
    assert_eq!(reason(caller(Scope::User), vms).await, Reason::ScopeInsufficient, "no method of ours");
    let elsewhere = OverlayCall { topic: Some("other.rpc".into()), ..whoami.clone() };
    assert_eq!(reason(caller(Scope::User), elsewhere.clone()).await, Reason::ScopeInsufficient);
    let late = OverlayCall { timeout_ms: Some(100), ..elsewhere };
    assert_eq!(reason(caller(Scope::Admin), late).await, Reason::NodeTimeout, "nobody listens there");
    let large = call(to(&story.there), "play", json!(["x".repeat(1 << 20)]));
    assert_eq!(reason(caller(Scope::User), large).await, Reason::RequestTooLarge);
    let mut story = story;
    story.here.stop().await;
    assert_eq!(reason(Caller::local(), whoami).await, Reason::UpstreamUnavailable, "the daemon is away");
    there.stop().await;
    here.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_wait_at_a_time_as_may_and_the_bridge_goes_on_taking_requests() {
    let story = Story::begin().await;
    let there = story.bridge().await;
    let here = story.bridge_here_with(|config| config.outbound.max_in_flight = 2).await;
    let nowhere: Destination = "ef".repeat(32).parse().unwrap();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let (overlay, asked) = (here.overlay.clone(), call(nowhere.clone(), "whoami", json!(null)));
            // The looks below take a place too, for a moment.
            tokio::spawn(async move {
                while let Err(error) = overlay.call(&Caller::local(), asked.clone()).await {
                    assert_eq!(error.reason(), Reason::TooManyRequests);
                }
            })
        })
        .collect();
    eventually("both wait", PATIENCE, async || {
        let asked = call(to(&story.there), "whoami", json!(null));
        let refused = here.overlay.call(&Caller::local(), asked).await;
        refused.is_err_and(|error| error.reason() == Reason::TooManyRequests)
    })
    .await;
    here.overlay.status(&Caller::local(), None).await.unwrap();
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    story.client().whoami().await.unwrap();
    there.stop().await;
    here.kill().await;
}
