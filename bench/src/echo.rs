//! The echo servers of the floors, in a process of their own as the services are: jsonrpsee with one method
//! that returns its parameter, and tonic with the standard health check, the smallest unary call there is.

use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context;
use jsonrpsee::{RpcModule, server::Server};
use tokio::net::TcpListener;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{latency::Latencies, process::Process};

const ADDRESSES: &str = "echo.addresses";

/// Serves until the process `parent` is gone.
pub(crate) async fn serve(parent: u32) -> anyhow::Result<()> {
    // The services run on several threads too; a floor on one thread would be too low a bar.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.spawn(async move {
        let rpc = Server::builder().build("127.0.0.1:0").await?;
        let grpc = TcpListener::bind("127.0.0.1:0").await?;
        let addresses = format!("{}\n{}\n", rpc.local_addr()?, grpc.local_addr()?);
        let mut module = RpcModule::new(());
        module.register_async_method("echo", |params, _, _| async move { params.one::<String>() })?;
        let _handle = rpc.start(module);
        let (_reporter, health) = tonic_health::server::health_reporter();
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(grpc);
        tokio::spawn(
            tonic::transport::Server::builder()
                .tcp_nodelay(true)
                .add_service(health)
                .serve_with_incoming(incoming),
        );
        tokio::fs::write(ADDRESSES, addresses).await?;
        while Path::new(&format!("/proc/{parent}")).exists() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        anyhow::Ok(())
    });
    let done = served.await;
    runtime.shutdown_background();
    done?
}

/// The running echo servers.
pub(crate) struct EchoServer {
    pub(crate) rpc: SocketAddr,
    pub(crate) grpc: SocketAddr,
    _process: Process,
}

impl EchoServer {
    pub(crate) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.current_dir(folder).arg("echo").arg("--parent").arg(std::process::id().to_string());
        let mut process = Process::start("echo", &mut command, folder)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let written = std::fs::read_to_string(folder.join(ADDRESSES)).unwrap_or_default();
            if let [rpc, grpc] = written.lines().collect::<Vec<_>>()[..]
                && written.ends_with('\n')
            {
                return Ok(Self { rpc: rpc.parse()?, grpc: grpc.parse()?, _process: process });
            }
            process.alive()?;
            anyhow::ensure!(Instant::now() < deadline, "the echo server did not start");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Unary calls, one after the other in each of `in_flight` tasks on one channel.
    pub(crate) async fn grpc_load(&self, calls: usize, in_flight: usize) -> anyhow::Result<Latencies> {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", self.grpc))?
            .tcp_nodelay(true)
            .connect()
            .await
            .context("connecting to the tonic echo")?;
        let begin = Instant::now();
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..in_flight {
            let mut client = HealthClient::new(channel.clone());
            workers.spawn(async move {
                let mut seen = Latencies::default();
                for _ in 0..calls / in_flight {
                    let sent = Instant::now();
                    client.check(HealthCheckRequest { service: String::new() }).await?;
                    seen.add(sent.elapsed());
                }
                anyhow::Ok(seen)
            });
        }
        let mut seen = Latencies::with_capacity(calls);
        while let Some(worker) = workers.join_next().await {
            seen.merge(worker??);
        }
        seen.elapsed = begin.elapsed();
        Ok(seen)
    }
}
