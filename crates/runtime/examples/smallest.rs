//! The smallest service: gRPC with health and reflection, and nothing of its own. The tests of this crate run it as
//! a real process.

use std::process::ExitCode;

use hero_config::{Invalid, Overrides, Secret, Validate};
use hero_runtime::{
    Address, Addresses, AdminConfig, Chassis, Context, DrainConfig, GrpcConfig, Listener, Service, Shutdown,
    TelemetryConfig, grpc,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
#[serde(default)]
struct Config {
    listen: Address,
    /// A dependency that never answers, so never ready.
    needs: Option<String>,
    /// Work that does not end by itself when it is told to.
    lingers: bool,
    secret: Secret,
    grpc: GrpcConfig,
    admin: AdminConfig,
    telemetry: TelemetryConfig,
    drain: DrainConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Address::loopback(8999),
            needs: None,
            lingers: false,
            secret: Secret::default(),
            grpc: GrpcConfig::default(),
            admin: AdminConfig::at(9999),
            telemetry: TelemetryConfig::default(),
            drain: DrainConfig::default(),
        }
    }
}

impl Validate for Config {
    fn validate(&self) -> Result<(), Invalid> {
        self.grpc.validate().map_err(|invalid| invalid.within("grpc"))?;
        self.validate_chassis()
    }
}

impl Chassis for Config {
    fn admin(&self) -> &AdminConfig {
        &self.admin
    }

    fn telemetry(&self) -> &TelemetryConfig {
        &self.telemetry
    }

    fn drain(&self) -> &DrainConfig {
        &self.drain
    }
}

#[derive(Debug, clap::Args)]
struct Flags {
    /// Where gRPC listens
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
}

struct Smallest {
    listener: Listener,
    server: grpc::Server,
    lingers: bool,
}

impl Service for Smallest {
    const NAME: &'static str = "smallest";
    const ABOUT: &'static str = "Shows what every service has";
    type Config = Config;
    type Flags = Flags;

    fn overrides(flags: Flags) -> Overrides {
        Overrides::new().set("listen", "--listen", flags.listen)
    }

    async fn bind(config: Config, cx: &Context) -> anyhow::Result<Self> {
        if let Some(name) = &config.needs {
            cx.health.condition(name).unready("it does not answer");
        }
        let listener = Listener::bind(&config.listen).await?;
        Ok(Self { listener, server: grpc::Server::new(&config.grpc, &cx.health), lingers: config.lingers })
    }

    fn addresses(&self) -> Addresses {
        Addresses::new().with("grpc", self.listener.address().clone())
    }

    async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        self.server.serve(self.listener, shutdown).await?;
        if self.lingers {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    hero_runtime::main::<Smallest>()
}
