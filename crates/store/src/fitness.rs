//! Whether a Redis is fit to keep jobs.

use std::collections::HashMap;

use hero_redis::{Link, cmd};

use crate::{Error, Result};

/// The oldest Redis that has all commands that the store uses.
const OLDEST: (u32, u32) = (6, 2);

/// What a check of Redis found: fit, with warnings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitness {
    /// The server's version.
    pub version: String,
    /// What an operator should know, in words.
    pub warnings: Vec<String>,
    /// How much of its `maxmemory` it uses, in percent; none: it has none.
    pub memory_percent: Option<u64>,
}

pub(crate) async fn check(link: &Link) -> Result<Fitness> {
    let info: String = link.call(&cmd("INFO")).await?;
    let save = snapshots(link).await;
    let fitness = judge(link.address(), &info, save.as_deref());
    if fitness.is_err() {
        // Behind Sentinels, or a name, there may be another primary by now.
        link.start_over();
    }
    fitness
}

/// When snapshots are made; empty: never, none: CONFIG is forbidden to this user.
pub(crate) async fn snapshots(link: &Link) -> Option<String> {
    let settings: HashMap<String, String> = link.call(cmd("CONFIG").arg("GET").arg("save")).await.ok()?;
    settings.get("save").cloned()
}

pub(crate) fn judge(address: &str, info: &str, save: Option<&str>) -> Result<Fitness> {
    let facts: HashMap<&str, &str> =
        info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
    let fact = |name: &str| facts.get(name).copied().unwrap_or_default();
    let version = fact("redis_version");
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < OLDEST {
        return Err(Error::Unfit(format!(
            "Redis at {address} is version {version}; the job store needs 6.2 or newer (or Valkey): upgrade it"
        )));
    }
    if fact("role") != "master" {
        return Err(Error::Unfit(format!(
            "Redis at {address} is a replica; jobs are written to the primary: set the URL to {}:{}",
            fact("master_host"),
            fact("master_port")
        )));
    }
    let (limit, policy) = (fact("maxmemory"), fact("maxmemory_policy"));
    if limit != "0" && policy != "noeviction" {
        return Err(Error::Unfit(format!(
            "Redis at {address} has maxmemory-policy {policy}, so it would drop jobs when its memory is used \
             up: set maxmemory-policy noeviction"
        )));
    }
    let mut warnings = Vec::new();
    if limit == "0" && policy != "noeviction" && !policy.is_empty() {
        warnings.push(format!(
            "maxmemory-policy is {policy}; once a maxmemory is set, jobs would be dropped: set noeviction"
        ));
    }
    if fact("aof_enabled") != "1" {
        warnings.push(match save {
            Some("") => "persistence is off: a restart of Redis loses every job; set appendonly yes".to_owned(),
            _ => "the append-only file is off: a restart of Redis loses what came after its last snapshot; set \
                  appendonly yes"
                .to_owned(),
        });
    }
    let number = |name: &str| fact(name).parse::<u64>().unwrap_or_default();
    let memory_percent = number("used_memory").saturating_mul(100).checked_div(number("maxmemory"));
    Ok(Fitness { version: version.to_owned(), warnings, memory_percent })
}

#[cfg(test)]
mod tests {
    use super::judge;

    fn info(version: &str, role: &str, maxmemory: &str, policy: &str, aof: &str) -> String {
        format!(
            "# Server\r\nredis_version:{version}\r\nrole:{role}\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\n\
             used_memory:990\r\nmaxmemory:{maxmemory}\r\nmaxmemory_policy:{policy}\r\naof_enabled:{aof}\r\n"
        )
    }

    #[test]
    fn a_persistent_primary_is_fit() {
        let fitness = judge("here", &info("7.0.15", "master", "1000", "noeviction", "1"), Some("")).unwrap();
        assert_eq!((fitness.version.as_str(), fitness.warnings.len()), ("7.0.15", 0));
        assert_eq!(fitness.memory_percent, Some(99));
        let boundless = judge("here", &info("7.0.15", "master", "0", "noeviction", "1"), None).unwrap();
        assert_eq!(boundless.memory_percent, None);
        assert!(judge("here", &info("6.2.0", "master", "0", "noeviction", "1"), None).is_ok());
        assert!(judge("here", &info("10.1", "master", "0", "noeviction", "1"), None).is_ok());
    }

    #[test]
    fn what_would_lose_jobs_is_refused_with_the_way_out() {
        for (text, words) in [
            (info("6.0.16", "master", "0", "noeviction", "1"), "6.2 or newer"),
            (info("5.9.9", "master", "0", "noeviction", "1"), "upgrade"),
            (info("7.0.15", "slave", "0", "noeviction", "1"), "10.0.0.1:6379"),
            (info("7.0.15", "master", "1000", "allkeys-lru", "1"), "set maxmemory-policy noeviction"),
            (info("7.0.15", "master", "1000", "volatile-ttl", "1"), "volatile-ttl"),
        ] {
            let error = judge("here", &text, None).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn what_may_lose_jobs_is_said() {
        let off = judge("here", &info("7.0.15", "master", "0", "noeviction", "0"), Some("")).unwrap();
        assert!(off.warnings[0].contains("loses every job"), "{off:?}");
        let snapshots =
            judge("here", &info("7.0.15", "master", "0", "allkeys-lru", "0"), Some("3600 1")).unwrap();
        assert!(snapshots.warnings[0].contains("allkeys-lru"), "{snapshots:?}");
        assert!(snapshots.warnings[1].contains("last snapshot"), "{snapshots:?}");
    }
}
