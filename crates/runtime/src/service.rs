//! What a service is to the process that runs it.

use std::{collections::BTreeMap, fmt};

use hero_config::{Overrides, Validate};
use hero_telemetry::Telemetry;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Address, Chassis, Health, Shutdown};

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A part of the product with a life of its own. The launcher and the tests call the very same `bind` and `run`.
pub trait Service: Sized + Send + 'static {
    /// The name of the binary and of the environment's prefix: `supervisor`.
    const NAME: &'static str;
    /// One line for `--help`.
    const ABOUT: &'static str;
    /// Names that are promised for a key beside its regular environment name.
    const ENV_ALIASES: &'static [(&'static str, &'static str)] = &[];
    /// Whether the process has the machine to itself, and so a thread of the runtime for each processor. Else it has
    /// one for every second: on a node that does little, threads that wake each other cost a call more than they save.
    const IS_ALONE: bool = false;

    /// Its settings; see `hero-config`.
    type Config: DeserializeOwned + Serialize + Validate + Chassis + Default + Send + 'static;
    /// Its own flags beside those of every service; [`NoFlags`] if it has none.
    type Flags: clap::Args + Send + 'static;

    /// Says which key each flag sets.
    fn overrides(flags: Self::Flags) -> Overrides;

    /// Opens sockets, prepares clients. On return the address is known; nothing has been served yet.
    fn bind(config: Self::Config, cx: &Context) -> impl Future<Output = anyhow::Result<Self>> + Send;

    /// The addresses that really got bound, by name.
    fn addresses(&self) -> Addresses;

    /// Serves until told to stop, then drains; returns when all its tasks have ended.
    fn run(self, shutdown: Shutdown) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// No flags beside those of every service.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct NoFlags {}

/// What a process gives to the services in it.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where a service says whether the things it needs are there.
    pub health: Health,
    /// The process's telemetry.
    pub telemetry: Telemetry,
    /// The version of this build.
    pub version: &'static str,
    /// Where the admin port really is, in a process that has one.
    pub admin: Option<Address>,
}

impl Context {
    /// The context of a process.
    #[must_use]
    pub fn new(health: Health, telemetry: Telemetry) -> Self {
        Self { health, telemetry, version: VERSION, admin: None }
    }

    /// A context without logs or exporters, for tests and tools.
    #[must_use]
    pub fn detached() -> Self {
        Self::new(Health::new(), Telemetry::detached())
    }

    /// The context of one of several services in a process: its conditions are named `<service>/<condition>`.
    #[must_use]
    pub fn scope(&self, service: &str) -> Self {
        Self { health: self.health.scope(service), ..self.clone() }
    }
}

/// Addresses by name: `grpc` is `tcp://127.0.0.1:41233`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses(BTreeMap<&'static str, Address>);

impl Addresses {
    /// No addresses.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    #[must_use]
    pub fn with(mut self, name: &'static str, address: Address) -> Self {
        self.0.insert(name, address);
        self
    }

    /// The address of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Address> {
        self.0.get(name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Address)> {
        self.0.iter().map(|(name, address)| (*name, address))
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, address)) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name} {address}")?;
        }
        Ok(())
    }
}

/// Runs a bound service to its end and logs both ends of its life.
///
/// # Errors
/// Whatever ended the service before it was told to stop.
pub async fn run_service<S: Service>(service: S, shutdown: Shutdown) -> anyhow::Result<()> {
    tracing::info!(service = S::NAME, version = VERSION, addresses = %service.addresses(), "serving");
    service.run(shutdown).await?;
    tracing::info!(service = S::NAME, "stopped");
    Ok(())
}
