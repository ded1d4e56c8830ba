//! Programs that know nothing of us: a client and a service in Python, by the old rules.

use std::process::{Child, Command, Stdio};

use crate::bus::{Bus, Twin, soon};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/relay/old_program.py");

/// Ends its process when it is dropped.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn python(twin: &Twin, role: &str) -> Command {
    let mut python = Command::new("python3");
    python.args([PROGRAM, role, twin.redis.url().trim_start_matches("unix://")]);
    python
}

fn serve(twin: &Twin) -> Service {
    let mut python = python(twin, "service");
    Service(
        python
            .args([&twin.id.to_string(), "shout"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_client_and_an_old_service_talk_over_two_relays() {
    let bus = Bus::start(2).await;
    let (one, two) = (bus.twin(1), bus.twin(2));
    let _services = (serve(one), serve(two));
    let mut client = python(one, "client");
    let output = client.args(["1,2,9", "shout", "hello", "and bye <&>"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    let mut lines: Vec<&str> = told.lines().collect();
    lines.sort_unstable();
    let missing = "0 all retries done: twin not found: object not found";
    assert_eq!(lines, [missing, missing, "1 AND BYE <&>", "1 HELLO", "2 AND BYE <&>", "2 HELLO"]);
    soon("nothing is left", || one.is_empty() && two.is_empty()).await;
    bus.stop().await;
}
