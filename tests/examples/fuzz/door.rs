//! The gateway, and the connections that knock at it.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, ensure};
use hero_gateway::{Gateway, GatewayConfig};
use hero_proto::{
    FILE_DESCRIPTOR_SET, circle_server, job_server, key_server, node_server, runner_server, schedule_server,
};
use hero_runtime::{
    Address, Context, DrainConfig, GrpcConfig, Health, Listener, Service as _, Shutdown, ShutdownTrigger,
    grpc,
};
use hero_testing::FakeNode;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::inputs::{Inputs, Kind};

/// An answer that takes longer is none.
const LONGEST: Duration = Duration::from_secs(30);
const MOST_ANSWER: usize = 16 << 20;

/// A gateway before a made-up supervisor.
pub(crate) struct Door {
    address: SocketAddr,
    _shutdowns: [ShutdownTrigger; 2],
}

impl Door {
    pub(crate) async fn open() -> anyhow::Result<Self> {
        let ports = FakeNode::new();
        let listener = Listener::bind(&Address::loopback(0)).await?;
        let supervisor = listener.address().clone();
        let (first, shutdown) = Shutdown::new(DrainConfig::default());
        let server = grpc::Server::new(&GrpcConfig::default(), &Health::new())
            .add_service(job_server(ports.clone()))
            .add_service(runner_server(ports.clone()))
            .add_service(key_server(ports.clone()))
            .add_service(schedule_server(ports.clone()))
            .add_service(circle_server(ports.clone()))
            .add_service(node_server(ports.clone()))
            .descriptors(FILE_DESCRIPTOR_SET);
        tokio::spawn(server.serve(listener, shutdown));
        let mut config =
            GatewayConfig { listen: Address::loopback(0), supervisor, ..GatewayConfig::default() };
        // Who proves nothing waits; here that would be most of the time.
        config.auth.failure_delay_ms = 0;
        let cx = Context::detached();
        let (second, shutdown) = Shutdown::new(config.drain);
        let gateway = Gateway::bind(config, &cx).await?;
        let address = gateway.addresses().get("http").and_then(Address::port).context("a port")?;
        tokio::spawn(gateway.run(shutdown));
        tokio::time::timeout(LONGEST, cx.health.ready()).await.context("the gateway is not ready")?;
        Ok(Self { address: ([127, 0, 0, 1], address).into(), _shutdowns: [first, second] })
    }

    /// Sends so many inputs; how many of them got a result.
    pub(crate) async fn knock(&self, inputs: Inputs, count: u64, connections: u64) -> anyhow::Result<u64> {
        let mut knocking = JoinSet::new();
        for part in 0..connections {
            let share = count / connections + u64::from(part < count % connections);
            knocking.spawn(knock(self.address, inputs.clone(), share, part));
        }
        let mut good = 0;
        while let Some(ended) = knocking.join_next().await {
            good += ended??;
        }
        Ok(good)
    }
}

async fn knock(address: SocketAddr, inputs: Inputs, count: u64, part: u64) -> anyhow::Result<u64> {
    let mut choices = inputs.choices(part);
    let (mut connection, mut good) = (None, 0);
    for _ in 0..count {
        let input = inputs.next(&mut choices);
        let request = match inputs.kind() {
            Kind::Body => request("POST", b"/", &input),
            Kind::Path if input.len().is_multiple_of(2) => request("GET", &input, b""),
            Kind::Path => request("POST", &input, br#"{"jsonrpc":"2.0","id":1,"method":"whoami"}"#),
        };
        let stream = match &mut connection {
            Some(stream) => stream,
            none => none.insert(TcpStream::connect(address).await?),
        };
        let told = || format!("the input was {:?}", String::from_utf8_lossy(&input));
        let answer = tokio::time::timeout(LONGEST, exchange(stream, &request)).await;
        let answer = answer.context("no answer in time").and_then(|it| it).with_context(told)?;
        good += u64::from(answer.check(inputs.kind()).with_context(told)?);
        if answer.is_last {
            connection = None;
        }
    }
    Ok(good)
}

fn request(method: &str, path: &[u8], body: &[u8]) -> Vec<u8> {
    let mut request = Vec::with_capacity(path.len() + body.len() + 160);
    request.extend_from_slice(method.as_bytes());
    request.push(b' ');
    request.extend_from_slice(path);
    let head = " HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: ";
    request.extend_from_slice(format!("{head}{}\r\n\r\n", body.len()).as_bytes());
    request.extend_from_slice(body);
    request
}

struct Answer {
    status: u16,
    body: Vec<u8>,
    /// The connection is closed after it.
    is_last: bool,
}

impl Answer {
    /// Whether it has a result. Whatever was sent, it is an answer that a client can read.
    fn check(&self, kind: Kind) -> anyhow::Result<bool> {
        let Self { status, body, .. } = self;
        ensure!((200..500).contains(status), "status {status}: {}", String::from_utf8_lossy(body));
        if *status == 200 && kind == Kind::Body && !body.is_empty() {
            let answer: Value = serde_json::from_slice(body).context("the answer is not JSON")?;
            let all = answer.as_array().map_or_else(|| vec![&answer], |many| many.iter().collect());
            let is_one = |it: &&Value| {
                it["jsonrpc"] == "2.0" && (it.get("result").is_some() ^ it.get("error").is_some())
            };
            ensure!(all.iter().all(is_one), "an answer of another protocol: {answer}");
            ensure!(all.iter().all(|it| it["error"]["code"] != -32603), "a fault of ours: {answer}");
            return Ok(all.iter().any(|it| it.get("result").is_some()));
        }
        // A request without an id is a notification, which has no answer.
        Ok(matches!(status, 200 | 204))
    }
}

async fn exchange(stream: &mut TcpStream, request: &[u8]) -> anyhow::Result<Answer> {
    // A gateway that has refused the head already may hang up before it has read the rest.
    let sent = stream.write_all(request).await;
    let mut received = Vec::with_capacity(1_024);
    let head = loop {
        if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        ensure!(stream.read_buf(&mut received).await? > 0, "hung up without an answer (sent: {sent:?})");
    };
    let text = String::from_utf8_lossy(&received[..head]).to_ascii_lowercase();
    let status: u16 = text.get(9..12).and_then(|status| status.parse().ok()).context("no status")?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let is_last = field("connection:") == Some("close") || sent.is_err();
    let length: Option<usize> = field("content-length:").and_then(|length| length.parse().ok());
    let mut body = received.split_off(head);
    match length {
        Some(length) => {
            ensure!(length <= MOST_ANSWER, "an answer of {length} bytes");
            while body.len() < length {
                ensure!(stream.read_buf(&mut body).await? > 0, "hung up in mid-answer");
            }
        }
        None => ensure!(is_last || status < 200 || status == 204, "an answer without a length: {text}"),
    }
    Ok(Answer { status, body, is_last })
}
