//! The flags of the launcher, and the settings that they stand for.

use std::path::PathBuf;

use hero_config::Overrides;

/// The flags that the requirements name, and those that a whole node needs beside them.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct LauncherFlags {
    /// Port for JSON-RPC over HTTP and WebSocket; 0 takes any free one [default: 8080]
    #[arg(short, long)]
    port: Option<u16>,

    /// Address to serve on; others than loopback need a secret [default: 127.0.0.1]
    #[arg(long)]
    host: Option<String>,

    /// Public key of a circle to serve at /{key}, secp256k1 in hex; can be repeated, or a list with commas
    #[arg(short = 'k', long = "public-key", value_name = "KEY", value_delimiter = ',')]
    public_key: Vec<String>,

    /// The same as a list with commas
    #[arg(long, value_name = "KEY,KEY", value_delimiter = ',')]
    public_keys: Vec<String>,

    /// Redis to keep jobs in [default: redis://127.0.0.1:6379 if one answers there, else a private redis-server]
    #[arg(long, value_name = "URL")]
    redis_url: Option<String>,

    /// Start a private redis-server even if one answers at the default address
    #[arg(long, conflicts_with = "redis_url")]
    private_redis: bool,

    /// Folder of the private redis-server [default: hero in the user's data folder]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,

    /// Run an explorer too, which other nodes tell that they live; EXPLORER_TCP_ADDR says where over the network
    #[arg(long)]
    explorer: bool,

    /// Every call has to bring a secret, or a key that was proved to a circle
    #[arg(long)]
    enable_auth: bool,

    /// Secret that may do everything
    #[arg(long, value_name = "SECRET")]
    admin_secret: Vec<String>,

    /// Secret that may use jobs
    #[arg(long, value_name = "SECRET")]
    user_secret: Vec<String>,

    /// Secret that may sign runners in
    #[arg(long, value_name = "SECRET")]
    register_secret: Vec<String>,

    /// Serve on other addresses than loopback although there is no secret: whoever reaches them may run scripts
    #[arg(long)]
    insecure_no_auth: bool,

    /// The Mycelium daemon through which the node is called too, such as http://127.0.0.1:8990 [default: none]
    #[arg(long, value_name = "URL")]
    mycelium_url: Option<String>,

    /// The topic of the calls that come in there [default: supervisor.rpc]
    #[arg(long)]
    topic: Option<String>,

    /// Log what the node does in detail (same as -vv)
    #[arg(short, long)]
    debug: bool,

    /// Log more: -v what happens, -vv in detail, -vvv everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

impl LauncherFlags {
    pub(crate) fn overrides(self) -> Overrides {
        let keys = self.public_key.into_iter().chain(self.public_keys).collect();
        let level = match (self.debug, self.verbose) {
            (false, 0) => None,
            (false, 1) => Some(("info", "-v")),
            (true, 0) => Some(("info,hero=debug", "--debug")),
            (_, 0..=2) => Some(("info,hero=debug", "-v")),
            _ => Some(("debug,hero=trace", "-v")),
        };
        Overrides::new()
            .set("port", "--port", self.port.map(i64::from))
            .set("host", "--host", self.host)
            .set_list("public_keys", "--public-key", keys)
            .set("redis_url", "--redis-url", self.redis_url)
            .set_switch("private_redis", "--private-redis", self.private_redis)
            .set("data_dir", "--data-dir", self.data_dir.map(|path| path.to_string_lossy().into_owned()))
            .set_switch("with_explorer", "--explorer", self.explorer)
            .set_switch("enable_auth", "--enable-auth", self.enable_auth)
            .set_list("secrets.admin", "--admin-secret", self.admin_secret)
            .set_list("secrets.user", "--user-secret", self.user_secret)
            .set_list("secrets.register", "--register-secret", self.register_secret)
            .set("mycelium_url", "--mycelium-url", self.mycelium_url)
            .set("topic", "--topic", self.topic)
            .set_switch("insecure_no_auth", "--insecure-no-auth", self.insecure_no_auth)
            .set("telemetry.log_level", level.map_or("-v", |(_, flag)| flag), level.map(|(level, _)| level))
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};
    use hero_config::{Source, load_with};

    use super::LauncherFlags;
    use crate::LauncherConfig;

    fn config(args: &[&str]) -> LauncherConfig {
        let command = LauncherFlags::augment_args(Command::new("launcher").no_binary_name(true));
        let matches = command.try_get_matches_from(args).unwrap();
        let flags = LauncherFlags::from_arg_matches(&matches).unwrap();
        load_with(Source { service: "launcher", overrides: flags.overrides(), ..Source::default() }).unwrap()
    }

    #[test]
    fn the_flags_of_the_requirements_set_what_they_name() {
        let config = config(&[
            "-p",
            "8099",
            "--redis-url",
            "redis://10.0.0.7:6380",
            "--enable-auth",
            "--admin-secret",
            "s",
        ]);
        assert_eq!(config.port, 8099);
        assert_eq!(config.redis_url.unwrap().to_string(), "redis://10.0.0.7:6380/0");
        assert!(config.enable_auth && config.secrets.admin[0].expose() == "s");
    }

    #[test]
    fn without_flags_the_defaults_stand() {
        let config = config(&[]);
        assert_eq!((config.host.as_str(), config.port), ("127.0.0.1", 8080));
        assert!(config.redis_url.is_none() && config.secrets.is_empty() && !config.enable_auth);
        assert_eq!(config.telemetry.log_level, "warn");
    }

    #[test]
    fn more_vs_log_more() {
        for (args, level) in [
            (["-v"].as_slice(), "info"),
            (&["-vv"], "info,hero=debug"),
            (&["-d"], "info,hero=debug"),
            (&["--debug", "-v"], "info,hero=debug"),
            (&["-vvv"], "debug,hero=trace"),
            (&["-v", "-v", "-v", "-v"], "debug,hero=trace"),
        ] {
            assert_eq!(config(args).telemetry.log_level, level, "{args:?}");
        }
    }
}
