//! Runners: signing in and out, leases, and who is there.

use std::collections::{BTreeMap, HashMap};

use hero_domain::{JobId, Runner, RunnerId, RunnerState, ScriptType, Timestamp};
use hero_redis::{Value, cmd, pipe};

use crate::{Renewed, Result, Session, SignIn, Store, answer::Answer, keys};

/// Contexts whose parked jobs are counted.
const MOST_COUNTED: usize = 1_000;

impl Store {
    pub(crate) async fn sign_runner_in(&self, runner: &SignIn) -> Result<Session> {
        let script = &self.scripts().sign_in;
        let lease_ms = u64::try_from(runner.lease.as_millis()).unwrap_or(u64::MAX);
        let types: Vec<&str> = runner.script_types.iter().map(|it| it.as_key()).collect();
        let circles: Vec<&str> = runner.circles.iter().map(|it| it.as_str()).collect();
        let mut call = script.command(&[], 24, 512);
        call.arg(runner.id.as_str()).arg(lease_ms);
        call.arg("session").arg(&runner.session).arg("slots").arg(runner.slots).arg("busy").arg(0);
        call.arg("script_types").arg(types.join(" ")).arg("circles").arg(circles.join(" "));
        call.arg("host").arg(&runner.host).arg("version").arg(&runner.version);
        call.arg("sandbox").arg(&runner.sandbox);
        call.arg("slots_by_type").arg(slots_text(&runner.slots_by_type));
        call.arg("not_offered").arg(reasons_text(&runner.not_offered));
        while self.run("sign_in", script, &call).await? == Value::Int(1) {}
        Ok(Session { runner: runner.id.clone(), session: runner.session.clone() })
    }

    pub(crate) async fn sign_runner_out(&self, session: &Session) -> Result<()> {
        let script = &self.scripts().sign_out;
        let mut call = script.command(&[], 2, 128);
        call.arg(session.runner.as_str()).arg(&session.session);
        while self.run("sign_out", script, &call).await? == Value::Int(1) {}
        Ok(())
    }

    pub(crate) async fn renew_lease(&self, session: &Session, busy: u32, known: &[JobId]) -> Result<Renewed> {
        let script = &self.scripts().renew;
        let mut call = script.command(&[], 3 + known.len(), 64 + known.len() * 37);
        call.arg(session.runner.as_str()).arg(&session.session).arg(busy);
        for id in known {
            call.arg(id.to_string());
        }
        let mut answer = Answer::new("renew", self.run("renew", script, &call).await?)?;
        let draining = answer.number()? == 1;
        let mut stop = Vec::with_capacity(answer.remaining());
        while !answer.is_empty() {
            stop.push(answer.id()?);
        }
        Ok(Renewed { stop, draining })
    }

    pub(crate) async fn drain_runner(&self, runner: &RunnerId, draining: bool) -> Result<()> {
        let script = &self.scripts().drain;
        let mut call = script.command(&[], 2, 128);
        call.arg(runner.as_str()).arg(u8::from(draining));
        self.run("drain", script, &call).await?;
        Ok(())
    }

    pub(crate) async fn remove_runner(&self, runner: &RunnerId) -> Result<()> {
        let script = &self.scripts().remove;
        let mut call = script.command(&[], 1, 128);
        call.arg(runner.as_str());
        while self.run("remove", script, &call).await? == Value::Int(1) {}
        Ok(())
    }

    /// The limit of one context, or of all that have none of their own.
    pub(crate) async fn set_limit(&self, context: Option<&str>, most: Option<u32>) -> Result<()> {
        let name = context.unwrap_or_default();
        let mut call = match most {
            Some(_) => cmd("HSET"),
            None => cmd("HDEL"),
        };
        call.arg(keys::LIMITS).arg(name).arg(most);
        let _changed: u64 = self.link().call(&call).await?;
        Ok(())
    }

    /// How many jobs are parked, of all contexts together.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`].
    pub async fn parked_jobs(&self) -> Result<u64> {
        let mut names = cmd("ZRANGE");
        names.arg(keys::LIMITED).arg(0).arg(MOST_COUNTED - 1);
        let contexts: Vec<String> = self.link().call(&names).await?;
        if contexts.is_empty() {
            return Ok(0);
        }
        let mut lengths = pipe();
        for context in &contexts {
            lengths.cmd("LLEN").arg(keys::parked(context));
        }
        let lengths: Vec<u64> = self.link().call_all(&lengths).await?;
        Ok(lengths.into_iter().sum())
    }

    /// The ids of all runners, sorted.
    pub(crate) async fn runner_ids(&self) -> Result<Vec<RunnerId>> {
        let names: Vec<String> = self.link().call(cmd("SMEMBERS").arg(keys::RUNNERS)).await?;
        let mut ids: Vec<RunnerId> = names.iter().filter_map(|name| name.parse().ok()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    pub(crate) async fn all_runners(&self) -> Result<Vec<Runner>> {
        let ids = self.runner_ids().await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut presences = pipe();
        let mut leases = pipe();
        for id in &ids {
            presences.cmd("HGETALL").arg(keys::runner(id));
            leases.cmd("ZSCORE").arg(keys::LEASES).arg(id.as_str());
        }
        let presences: Vec<HashMap<String, String>> = self.link().call_all(&presences).await?;
        let leases: Vec<Option<f64>> = self.link().call_all(&leases).await?;
        let now = self.now().await?;
        let all = ids.into_iter().zip(presences).zip(leases);
        Ok(all.filter_map(|((id, presence), lease)| runner(id, &presence, lease, now)).collect())
    }
}

/// As a field of a presence: `osis=8 python=4`.
fn slots_text(slots: &BTreeMap<ScriptType, u32>) -> String {
    let each: Vec<String> = slots.iter().map(|(kind, slots)| format!("{}={slots}", kind.as_key())).collect();
    each.join(" ")
}

fn slots_of(text: &str) -> Option<(ScriptType, u32)> {
    let (kind, slots) = text.split_once('=')?;
    Some((kind.parse().ok()?, slots.parse().ok()?))
}

/// As a field of a presence: a line for each type.
fn reasons_text(reasons: &BTreeMap<ScriptType, String>) -> String {
    let each: Vec<String> =
        reasons.iter().map(|(kind, why)| format!("{}={}", kind.as_key(), why.replace('\n', " "))).collect();
    each.join("\n")
}

fn reason_of(line: &str) -> Option<(ScriptType, String)> {
    let (kind, why) = line.split_once('=')?;
    Some((kind.parse().ok()?, why.to_owned()))
}

/// None for a runner that has signed out in between.
fn runner(
    id: RunnerId,
    presence: &HashMap<String, String>,
    lease: Option<f64>,
    now: Timestamp,
) -> Option<Runner> {
    presence.get("session")?;
    let text = |name: &str| presence.get(name).map(String::as_str).unwrap_or_default();
    let time = |name: &str| Timestamp::from_millis(text(name).parse().unwrap_or_default());
    // Milliseconds of any year that this runs in fit an f64 exactly.
    let lease_until = Timestamp::from_millis(lease.unwrap_or_default() as i64);
    let state = if lease_until <= now {
        RunnerState::Lost
    } else if text("draining") == "1" {
        RunnerState::Draining
    } else {
        RunnerState::Alive
    };
    Some(Runner {
        id,
        script_types: text("script_types").split_whitespace().filter_map(|it| it.parse().ok()).collect(),
        circles: text("circles").split_whitespace().filter_map(|it| it.parse().ok()).collect(),
        slots: text("slots").parse().unwrap_or_default(),
        slots_by_type: text("slots_by_type").split_whitespace().filter_map(slots_of).collect(),
        not_offered: text("not_offered").lines().filter_map(reason_of).collect(),
        max_running_per_context: text("limited").parse().ok().filter(|most| *most > 0),
        busy: text("busy").parse().unwrap_or_default(),
        host: text("host").to_owned(),
        version: text("version").to_owned(),
        sandbox: text("sandbox").to_owned(),
        started_at: time("started_at"),
        last_seen_at: time("seen_at"),
        lease_until,
        state,
    })
}
