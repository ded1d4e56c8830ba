//! Starts a node of its own, and calls it with the client library.
//!
//! ```sh
//! cargo run -p hero-launcher --example supervisor_client_demo
//! ```
#![allow(clippy::print_stdout, reason = "it shows what it does")]

use anyhow::Context as _;
use hero_client::{Client, NewJob, RunJob, ScriptType};
use hero_launcher::{LauncherConfig, Node};
use hero_runtime::{Context, Service as _, Shutdown};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut config = LauncherConfig {
        port: 0,
        private_redis: true,
        data_dir: Some(folder.path().to_owned()),
        ..LauncherConfig::default()
    };
    config.secrets.user = vec!["user123".into()];
    let drain = config.drain;
    let cx = Context::detached();
    let node = Node::bind(config, &cx).await?;
    let address = node.addresses().get("http").context("it serves HTTP")?.to_string();
    let address = address.replace("tcp://", "http://");
    let (trigger, shutdown) = Shutdown::new(drain);
    let running = tokio::spawn(node.run(shutdown));
    cx.health.ready().await;
    println!("a node runs at {address}");

    let client = Client::builder(&address).secret("user123").build()?;
    println!("this client is: {}", client.whoami().await?);
    println!("40 + 2 is {}", client.run_job(&RunJob::new(ScriptType::Osis, "40 + 2")).await?);

    let first = client.create_job(&NewJob::new(ScriptType::Osis, "print(\"first\"); 1")).await?;
    let second = NewJob { prerequisites: vec![first], ..NewJob::new(ScriptType::Python, "print('second')") };
    let second = client.submit_job(&second).await?;
    println!("job {second} is {}", client.get_job_status(second).await?);
    client.start_job(first).await?;
    let ended = client.wait_job(second, None).await?;
    println!("job {second} is {}: {}", ended.status, ended.output.unwrap_or_default().trim());

    let wrong = Client::builder(&address).secret("wrong").build()?;
    if let Err(error) = wrong.whoami().await {
        println!("with a wrong secret: {error}");
    }
    trigger.drain().await;
    running.await?
}
