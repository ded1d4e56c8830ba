//! One runner per circle: those of the configuration, and those that come and go at run time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hero_domain::{Caller, CircleKey, Scope, ports::Circles as _};
use hero_proto::GrpcCircles;
use hero_runner::{Runner, RunnerConfig};
use hero_runtime::{Condition, Context, DrainConfig, Health, Service as _, Shutdown, Telemetry};

use crate::node::Part;

/// The pause between two looks at which circles there are.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A call that is told nobody's name is told this one.
const NAME: &str = "launcher";

/// Keeps a runner for each circle that is served.
pub(crate) struct Tenants {
    pub(crate) circles: GrpcCircles,
    /// What every runner of a circle is told; its circle is filled in.
    pub(crate) runner: RunnerConfig,
    pub(crate) telemetry: Telemetry,
    pub(crate) drain: DrainConfig,
    /// Holds once the circles that there are at the start have their runners.
    pub(crate) condition: Condition,
}

impl Tenants {
    /// Goes on until the drain begins; then the runners finish what they have.
    pub(crate) async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let caller = Caller { name: NAME.to_owned(), scope: Scope::Admin, circle: None };
        let mut running: BTreeMap<CircleKey, Part> = BTreeMap::new();
        let mut leaving = Vec::new();
        loop {
            match self.circles.list(&caller).await {
                Ok(circles) => {
                    let wanted = circles.into_iter().map(|circle| circle.public_key).collect();
                    self.follow(&wanted, &mut running, &mut leaving).await;
                    self.condition.ready();
                }
                // Who is served goes on being served.
                Err(error) => tracing::debug!(%error, "cannot ask which circles there are"),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = shutdown.draining() => break,
            }
        }
        running.values().for_each(|part| part.trigger.begin());
        shutdown.requested().await;
        leaving.extend(running.into_values());
        leaving.iter().for_each(|part| part.trigger.stop());
        let mut outcome = Ok(());
        for mut part in leaving {
            outcome = outcome.and(part.finish().await);
        }
        outcome
    }

    /// Starts the runners that are missing, and stops those that nobody wants.
    async fn follow(
        &self,
        wanted: &BTreeSet<CircleKey>,
        running: &mut BTreeMap<CircleKey, Part>,
        leaving: &mut Vec<Part>,
    ) {
        leaving.retain(|part| !part.is_finished());
        for circle in wanted {
            // One that has failed is started again, as if it were new.
            if running.get(circle).is_none_or(Part::is_finished) {
                match self.start(circle).await {
                    Ok(part) => {
                        tracing::info!(%circle, "runs the scripts of a circle");
                        running.insert(circle.clone(), part);
                    }
                    Err(error) => {
                        tracing::error!(%circle, error = format!("{error:#}"), "no runner for a circle")
                    }
                }
            }
        }
        let unwanted: Vec<CircleKey> = running.keys().filter(|it| !wanted.contains(*it)).cloned().collect();
        for circle in unwanted {
            let Some(part) = running.remove(&circle) else { continue };
            tracing::info!(%circle, "runs the scripts of a circle no more");
            part.trigger.stop();
            leaving.push(part);
        }
    }

    async fn start(&self, circle: &CircleKey) -> anyhow::Result<Part> {
        let config = RunnerConfig { circle: circle.to_string(), ..self.runner.clone() };
        // Whether one circle has a runner does not make the node ready or not.
        let cx = Context::new(Health::new(), self.telemetry.clone());
        Ok(Part::run(Runner::bind(config, &cx).await?, self.drain))
    }
}
