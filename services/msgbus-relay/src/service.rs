//! The relay as a service: wiring, and its life.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use hero_config::Overrides;
use hero_proto::{FILE_DESCRIPTOR_SET, bus_server};
use hero_redis::Link;
use hero_runtime::{Addresses, Condition, Context, Health, Listener, Service, Shutdown, Tasks, grpc};

use crate::{
    bus::RelayBus,
    client::Client,
    config::{RelayConfig, RelayFlags},
    intake::{Consumer, Queue},
    key::Key,
    ledger::{Kind, Ledger},
    outbox::Outbox,
    rates::Rates,
    relay::Relay,
    rpc::Rpc,
    server,
    twins::{Source, Twins, Unknown},
    upkeep,
    waiters::Waiters,
};

/// A twin's relay.
pub struct MsgbusRelay {
    config: RelayConfig,
    http: Listener,
    listener: Listener,
    me: u32,
    key: Key,
    ledger: Ledger,
    twins: Twins,
    health: Health,
    redis: Condition,
}

impl Service for MsgbusRelay {
    const NAME: &'static str = "msgbus-relay";
    const ABOUT: &'static str = "The message bus: queues in the local Redis, twins elsewhere over HTTP";

    type Config = RelayConfig;
    type Flags = RelayFlags;

    fn overrides(flags: RelayFlags) -> Overrides {
        flags.overrides()
    }

    async fn bind(config: RelayConfig, cx: &Context) -> anyhow::Result<Self> {
        if config.mnemonics.is_empty() {
            bail!(
                "there is no key to sign with; give its mnemonic with --mnemonics file:/path, or in the \
                 configuration (`mnemonics`)"
            );
        }
        let key = Key::from_secret(config.key_type, config.mnemonics.expose()).context("`mnemonics`")?;
        let twins = Twins::new(Source::of(&config.substrate, &config.twins.tls)?, config.twins.clone());
        let me = identify(&twins, &key, config.twin).await?;
        let link = Link::open(&config.redis).context("the address of redis cannot be used")?;
        let http = Listener::bind(&config.listen).await?;
        let listener = Listener::bind(&config.grpc_listen).await?;
        let redis = cx.health.condition("redis");
        let health = cx.health.clone();
        let ledger = Ledger::new(link);
        Ok(Self { config, http, listener, me, key, ledger, twins, health, redis })
    }

    fn addresses(&self) -> Addresses {
        let addresses = Addresses::new().with("http", self.http.address().clone());
        addresses.with("grpc", self.listener.address().clone())
    }

    async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let Self { config, http, listener, me, key, ledger, twins, health, redis } = self;
        tracing::info!(twin = me, "initializing agent server");
        let client = Client::plain(config.send.max_in_flight);
        let relay = Arc::new(Relay {
            me: me.into(),
            key,
            ledger,
            twins,
            client,
            outbox: Outbox::default(),
            waiters: Waiters::default(),
            rates: Rates::new(config.accept.max_per_second),
            rpc: Rpc::new(&config),
            shutdown: shutdown.clone(),
            config,
        });
        let server = grpc::Server::new(&relay.config.grpc, &health)
            .add_service(bus_server(RelayBus::new(&relay)))
            .descriptors(FILE_DESCRIPTOR_SET);
        let mut tasks = Tasks::new(shutdown.clone());
        tasks.essential("grpc", server.serve(listener, shutdown.clone()));
        tasks.essential("http", server::serve(Arc::clone(&relay), http, shutdown.clone()));
        let rpc = relay.serves_rpc().then_some(("rpc queue", Queue::Rpc, relay.config.rpc.max_calls));
        let workers = relay.config.workers;
        let queues = [
            ("local queue", Queue::Local, workers),
            ("remote queue", Queue::Remote, workers),
            ("reply queue", Queue::Reply, workers),
        ];
        for (name, queue, most) in queues.into_iter().chain(rpc) {
            let (consumer, shutdown) = (Consumer::new(&relay, queue, most), shutdown.clone());
            tasks.restartable(name, move || consumer.clone().run(shutdown.clone()));
        }
        for (name, kind) in [("requests", Kind::Request), ("replies", Kind::Reply)] {
            let (relay, shutdown) = (Arc::clone(&relay), shutdown.clone());
            tasks.restartable(name, move || upkeep::send_due(Arc::clone(&relay), kind, shutdown.clone()));
        }
        tasks.restartable("expiry", {
            let (relay, shutdown) = (Arc::clone(&relay), shutdown.clone());
            move || upkeep::expire(Arc::clone(&relay), shutdown.clone())
        });
        if relay.twins.may_follow() {
            let (relay, shutdown) = (Arc::clone(&relay), shutdown.clone());
            tasks.restartable("own twin", move || upkeep::find_itself(Arc::clone(&relay), shutdown.clone()));
        }
        tasks.essential("watch", upkeep::watch(Arc::clone(&relay), redis, shutdown.clone()));
        tasks.essential("outbox", upkeep::finish_sending(relay, shutdown));
        tasks.finish().await
    }
}

/// Which twin this is; a key that is not the twin's would have every message refused elsewhere.
async fn identify(twins: &Twins, key: &Key, configured: u32) -> anyhow::Result<u32> {
    if configured != 0 && twins.may_follow() {
        return Ok(configured);
    }
    match twins.by_account(&key.public()).await {
        Ok(twin) if configured == 0 || configured == twin.id => Ok(twin.id),
        Ok(twin) => bail!("the key is that of twin {}, and --twin says {configured}", twin.id),
        Err(Unknown::Missing) => bail!(
            "no twin has the account of this key, {}; register it where --substrate looks, or give the mnemonic \
             (and --key-type) of one that is there",
            hex::encode(key.public())
        ),
        Err(Unknown::Away(why)) if configured != 0 => {
            tracing::warn!(%why, twin = configured, "the look-up of twins does not answer; --twin is believed");
            Ok(configured)
        }
        Err(Unknown::Away(why)) => {
            bail!("the look-up of twins does not answer ({why}), and no --twin says which twin this is")
        }
    }
}
