//! The gateway as strangers see it: what it adds to a call, what an idle WebSocket costs, and whether connections that
//! come and go leave anything behind.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use hero_domain::{Caller, JobId, ports::Jobs as _};
use hero_proto::GrpcJobs;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};
use tonic::transport::Endpoint;

use super::Bench;
use crate::{
    latency::Latencies,
    load::{Call, Load},
    node::{GATEWAY_CONNECTIONS, Node, Staff},
    report::Target,
};

const ADDED_MS: f64 = 0.3;
const IDLE_KIB: f64 = 40.0;
/// Memory that connections which have come and gone may leave behind: that of the allocator, in all and not for each.
const LEFT_MIB: f64 = 4.0;
/// Connections a second that open and close.
const CHURN: usize = 2_000;
/// They come in groups of so many.
const GROUP: usize = 20;
/// For so long before the memory is looked at first: what is made once is there then.
const WARM_UP: Duration = Duration::from_secs(5);
const LONGEST_ANSWER: Duration = Duration::from_secs(10);

pub(super) async fn measure(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let node = bench.node("edge", Staff::OneRunner).await?;
    overhead(bench, &node).await?;
    drop(node);
    idle_sockets(bench).await?;
    churn(bench).await
}

/// The status of a job, asked of the supervisor and through the gateway, in turns.
async fn overhead(bench: &mut Bench<'_>, node: &Node) -> anyhow::Result<()> {
    let mut ws = node.ws().await?;
    let created = ws.call(Load::osis(Call::Submit, 1, 1).text(0)).await?;
    let id: JobId = serde_json::from_str(&created).with_context(|| format!("no id: {created}"))?;
    let supervisor = node.supervisor.context("this node has a supervisor of its own")?;
    let jobs = GrpcJobs::new(Endpoint::from_shared(format!("http://{supervisor}"))?.connect().await?);
    let (caller, request) = (
        Caller::local(),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"get_job_status","params":["{id}"]}}"#),
    );
    let rounds = bench.sizes.run_job;
    let (mut direct, mut through) = (Latencies::with_capacity(rounds), Latencies::with_capacity(rounds));
    for _ in 0..rounds {
        let begin = Instant::now();
        jobs.status(&caller, id).await?;
        direct.add(begin.elapsed());
        let begin = Instant::now();
        ws.call(request.clone()).await?;
        through.add(begin.elapsed());
    }
    let (direct, through) = (direct.percentile_ms(0.5), through.percentile_ms(0.5));
    bench.report.plain("edge.status.grpc.p50", direct, "ms");
    bench.report.plain("edge.status.gateway.p50", through, "ms");
    bench.report.add("edge.added.p50", through - direct, "ms", Some(Target::AtMost(ADDED_MS)), None);
    Ok(())
}

async fn idle_sockets(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let node = bench.node("edge-idle", Staff::NoRunner).await?;
    let before = gateway_bytes(&node)?;
    let count = bench.sizes.idle_sockets;
    anyhow::ensure!(count < GATEWAY_CONNECTIONS, "the gateway takes {GATEWAY_CONNECTIONS} connections");
    let mut open = Vec::with_capacity(count);
    for number in 0..count {
        open.push(upgrade(node.gateway, number).await?);
    }
    let used = gateway_bytes(&node)? - before;
    let each = used / count as f64 / 1024.0;
    bench.report.add("edge.idle_socket", each, "KiB", Some(Target::AtMost(IDLE_KIB)), None);
    drop(open);
    Ok(())
}

/// Connections that open, say who they are and close, at an even pace.
async fn churn(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let node = bench.node("edge-churn", Staff::NoRunner).await?;
    let length = Duration::from_secs(bench.sizes.churn_s);
    let mut number = 0;
    come_and_go(&node, WARM_UP.min(length), &mut number).await?;
    let before = gateway_bytes(&node)?;
    let (begin, first) = (Instant::now(), number);
    come_and_go(&node, length, &mut number).await?;
    let rate = (number - first) as f64 / begin.elapsed().as_secs_f64();
    let left = (gateway_bytes(&node)? - before) / f64::from(1 << 20);
    bench.report.add("edge.churn.rate", rate, "/s", Some(Target::AtLeast(CHURN as f64 * 0.99)), None);
    bench.report.add("edge.churn.left_behind", left, "MiB", Some(Target::AtMost(LEFT_MIB)), None);
    Ok(())
}

async fn come_and_go(node: &Node, length: Duration, number: &mut usize) -> anyhow::Result<()> {
    let mut beat = tokio::time::interval(Duration::from_secs(1) * GROUP as u32 / CHURN as u32);
    let mut open = tokio::task::JoinSet::new();
    let begin = Instant::now();
    while begin.elapsed() < length {
        beat.tick().await;
        for _ in 0..GROUP {
            open.spawn(upgrade(node.gateway, *number));
            *number += 1;
        }
        while let Some(ended) = open.try_join_next() {
            ended??;
        }
    }
    while let Some(ended) = open.join_next().await {
        ended??;
    }
    Ok(())
}

fn gateway_bytes(node: &Node) -> anyhow::Result<f64> {
    let usage = node.usage()?;
    Ok(usage.get("gateway").context("this node has a gateway of its own")?.resident as f64)
}

/// A WebSocket, opened by hand: a client with buffers of its own would cost more than what is measured. Each thousand
/// has an address of its own, or the ports would be used up.
async fn upgrade(gateway: SocketAddr, number: usize) -> anyhow::Result<TcpStream> {
    let [_, _, high, low] = u32::try_from(number / 1_000 % 60_000 + 2)?.to_be_bytes();
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 1, high, low), 0).into())?;
    let mut stream = socket.connect(gateway).await?;
    let request = format!(
        "GET / HTTP/1.1\r\nhost: {gateway}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::with_capacity(512);
    let answered = tokio::time::timeout(LONGEST_ANSWER, async {
        // A first ping may come right behind it.
        while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
            anyhow::ensure!(stream.read_buf(&mut answer).await? > 0, "the gateway has hung up");
        }
        Ok(())
    });
    answered.await??;
    anyhow::ensure!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    Ok(stream)
}
