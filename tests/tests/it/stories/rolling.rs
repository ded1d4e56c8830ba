//! A new version of everything, one process after the other, while callers go on calling.

use hero_gateway::GatewayConfig;
use hero_runtime::Address;

use crate::{
    cluster::{Cluster, Member, Shape, until},
    load::{Load, Rotation},
};

/// What callers run between two restarts.
const JOBS: u64 = 30;

async fn go_on(load: &Load) {
    let goal = load.done() + JOBS;
    until("the callers go on", async || (load.done() >= goal).then_some(())).await;
}

/// So long a gateway serves on while it is not ready: a call that was on its way to it is still taken.
fn with_delay(config: &mut GatewayConfig) {
    config.drain.drain_delay_ms = 500;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_service_is_restarted_under_load_and_no_call_fails() {
    let shape = Shape { supervisors: 2, runners: 2, gateway: with_delay, ..Shape::default() };
    let mut cluster = Cluster::with(shape).await;
    let rotation = Rotation::default();
    cluster.gateways.iter().for_each(|gateway| rotation.add(&gateway.address("http")));
    let load = Load::start(&rotation, 8);
    go_on(&load).await;

    for place in 0..2 {
        let listen = grpc(&cluster.supervisors[place]);
        cluster.supervisors.remove(place).stop().await;
        let supervisor = cluster.supervisor(listen).await;
        supervisor.ready().await;
        cluster.supervisors.insert(place, supervisor);
        go_on(&load).await;
    }
    for place in 0..2 {
        let supervisor = grpc(&cluster.supervisors[place]);
        // As a load balancer does that looks at /readyz: no new calls; those that are there are answered.
        rotation.remove(&cluster.gateways[place].address("http"));
        cluster.gateways.remove(place).stop().await;
        let gateway = cluster.gateway(&supervisor).await;
        gateway.ready().await;
        rotation.add(&gateway.address("http"));
        cluster.gateways.insert(place, gateway);
        go_on(&load).await;
    }
    for place in 0..2 {
        cluster.runners.remove(place).stop().await;
        let runner = cluster.runner().await;
        runner.ready().await;
        cluster.runners.insert(place, runner);
        go_on(&load).await;
    }
    load.finish().await;
    cluster.stop().await;
}

fn grpc(supervisor: &Member) -> Address {
    supervisor.addresses.get("grpc").expect("it serves gRPC").clone()
}
