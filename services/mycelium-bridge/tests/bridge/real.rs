//! The bridge over two real daemons, peered over loopback; only where `HERO_MYCELIUM_BIN` names a `mycelium` binary.

use std::{path::PathBuf, time::Duration};

use hero_client::{
    Client, Destination, Error, Options, RunJob, ScriptType,
    mycelium::{Daemon, DaemonOptions},
};
use hero_domain::Scope;
use hero_mycelium_bridge::Peer;
use hero_testing::{eventually, mycelium::RealDaemon};

use crate::setup::{PATIENCE, Running, Story};

/// The daemons, and what the node behind the second one is called by.
struct Daemons {
    here: RealDaemon,
    there: RealDaemon,
    to: Destination,
    peer: Peer,
}

/// None: there is no binary.
async fn daemons() -> Option<Daemons> {
    let binary = PathBuf::from(std::env::var_os("HERO_MYCELIUM_BIN")?);
    let there = RealDaemon::start(&binary, &[]).unwrap();
    let here = RealDaemon::start(&binary, &[there.peer()]).unwrap();
    let daemon = |of: &RealDaemon| Daemon::new(&of.url(), DaemonOptions::default()).unwrap();
    eventually("they know each other", PATIENCE, async || {
        matches!(daemon(&here).peers().await, Ok(1..)) && matches!(daemon(&there).peers().await, Ok(1..))
    })
    .await;
    let to = Destination::Pk(daemon(&there).info().await.unwrap().node_pubkey);
    let pk = daemon(&here).info().await.unwrap().node_pubkey;
    Some(Daemons { here, there, to, peer: Peer { pk, scope: Scope::User, circles: vec![], ip: None } })
}

impl Daemons {
    async fn bridge(&self, story: &Story) -> Running {
        let bridge = story
            .bridge_with(|config| {
                config.mycelium_url = self.there.url();
                config.daemon.call_timeout_ms = 5_000;
                config.peers = vec![self.peer.clone()];
            })
            .await;
        bridge.ready().await;
        bridge
    }

    fn client(&self, call_timeout: Duration) -> Client {
        let options = Options { call_timeout, ..Options::default() };
        Client::over_mycelium(self.here.url(), self.to.clone()).options(options).build().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_over_real_daemons_are_answered_once_each() {
    let Some(daemons) = daemons().await else { return };
    let story = Story::begin().await;
    let bridge = daemons.bridge(&story).await;
    let client = daemons.client(Duration::from_secs(60));
    let callers: Vec<_> = (0..20)
        .map(|caller| {
            let client = client.clone();
            tokio::spawn(async move {
                for number in 0..50 {
                    let script = format!("{caller}.{number}");
                    let output = client.run_job(&RunJob::new(ScriptType::Osis, &script)).await.unwrap();
                    assert_eq!(output, script);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(story.ports.submitted().len(), 1_000);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_daemons_and_bridge_are_restarted_no_call_runs_twice_and_each_ends() {
    let Some(mut daemons) = daemons().await else { return };
    let story = Story::begin().await;
    let mut bridge = daemons.bridge(&story).await;
    let client = daemons.client(Duration::from_secs(5));
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut answered = 0;
                for number in 0..40 {
                    let script = format!("{caller}.{number}");
                    let job = RunJob { timeout: Some(1), ..RunJob::new(ScriptType::Osis, &script) };
                    let call = serde_json::to_value(&job).unwrap();
                    match client.call_within::<String>("run_job", call, Duration::from_secs(5)).await {
                        Ok(output) => {
                            assert_eq!(output, script);
                            answered += 1;
                        }
                        // What a daemon lost ends here, and so does what was asked of one that was away.
                        Err(Error::Timeout { .. } | Error::Unreachable { .. }) => {}
                        Err(error) => panic!("{script}: {error}"),
                    }
                }
                answered
            })
        })
        .collect();
    let progress = |more: usize| {
        let (ports, goal) = (story.ports.clone(), story.ports.submitted().len() + more);
        async move { eventually("calls go on", PATIENCE * 3, async || ports.submitted().len() >= goal).await }
    };
    progress(20).await;
    bridge.kill().await;
    bridge = daemons.bridge(&story).await;
    progress(20).await;
    daemons.there.restart().unwrap();
    progress(20).await;
    daemons.here.restart().unwrap();
    let mut answered = 0;
    for caller in callers {
        answered += caller.await.unwrap();
    }
    let mut scripts: Vec<_> = story.ports.submitted().into_iter().map(|job| job.script).collect();
    let ran = scripts.len();
    scripts.sort();
    scripts.dedup();
    assert_eq!(scripts.len(), ran, "none ran twice");
    assert!(answered >= 100 && answered <= ran, "{answered} of {ran} were answered");
    bridge.kill().await;
}
