//! All ports of a node, asked over gRPC.

use hero_domain::ports::{Jobs, Ports};
use tonic::transport::Channel;

use crate::{
    Calls, GrpcBus, GrpcCircles, GrpcJobs, GrpcKeys, GrpcNodes, GrpcOverlay, GrpcRunners, GrpcSchedules,
};

/// All ports of a node over gRPC. Cheap to clone; all clones share the channels.
#[derive(Debug, Clone)]
pub struct GrpcPorts<J = GrpcJobs> {
    jobs: J,
    runners: GrpcRunners,
    schedules: GrpcSchedules,
    circles: GrpcCircles,
    keys: GrpcKeys,
    nodes: GrpcNodes,
    bus: GrpcBus,
    overlay: GrpcOverlay,
}

impl GrpcPorts {
    /// The ports that the supervisor on this channel serves.
    #[must_use]
    pub fn new(supervisor: Channel, calls: &Calls) -> Self {
        Self {
            jobs: GrpcJobs::with_calls(supervisor.clone(), calls.clone()),
            runners: GrpcRunners::with_calls(supervisor.clone(), calls.clone()),
            schedules: GrpcSchedules::with_calls(supervisor.clone(), calls.clone()),
            circles: GrpcCircles::with_calls(supervisor.clone(), calls.clone()),
            keys: GrpcKeys::with_calls(supervisor.clone(), calls.clone()),
            nodes: GrpcNodes::with_calls(supervisor, calls.clone()),
            bus: GrpcBus::with_calls(None, calls.clone()),
            overlay: GrpcOverlay::with_calls(None, calls.clone()),
        }
    }
}

impl<J> GrpcPorts<J> {
    /// With the message bus that the relay on this channel serves; none: this node has no relay.
    #[must_use]
    pub fn with_bus(self, relay: Option<Channel>, calls: &Calls) -> Self {
        Self { bus: GrpcBus::with_calls(relay, calls.clone()), ..self }
    }

    /// With the overlay that the bridge on this channel leads to; none: this node is not in it.
    #[must_use]
    pub fn with_overlay(self, bridge: Option<Channel>, calls: &Calls) -> Self {
        Self { overlay: GrpcOverlay::with_calls(bridge, calls.clone()), ..self }
    }

    /// The same with another way to the jobs, such as one that gathers submits.
    #[must_use]
    pub fn map_jobs<K>(self, map: impl FnOnce(J) -> K) -> GrpcPorts<K> {
        let Self { jobs, runners, schedules, circles, keys, nodes, bus, overlay } = self;
        GrpcPorts { jobs: map(jobs), runners, schedules, circles, keys, nodes, bus, overlay }
    }

    /// The same with the nodes of an explorer, instead of those that the supervisor knows how to ask for.
    #[must_use]
    pub fn with_explorer(self, explorer: Channel, calls: &Calls) -> Self {
        Self { nodes: GrpcNodes::with_calls(explorer, calls.clone()), ..self }
    }
}

impl<J: Jobs> Ports for GrpcPorts<J> {
    type Jobs = J;
    type Runners = GrpcRunners;
    type Schedules = GrpcSchedules;
    type Bus = GrpcBus;
    type Circles = GrpcCircles;
    type Keys = GrpcKeys;
    type Nodes = GrpcNodes;
    type Overlay = GrpcOverlay;

    fn jobs(&self) -> &J {
        &self.jobs
    }

    fn runners(&self) -> &GrpcRunners {
        &self.runners
    }

    fn schedules(&self) -> &GrpcSchedules {
        &self.schedules
    }

    fn bus(&self) -> &GrpcBus {
        &self.bus
    }

    fn circles(&self) -> &GrpcCircles {
        &self.circles
    }

    fn keys(&self) -> &GrpcKeys {
        &self.keys
    }

    fn nodes(&self) -> &GrpcNodes {
        &self.nodes
    }

    fn overlay(&self) -> &GrpcOverlay {
        &self.overlay
    }
}
