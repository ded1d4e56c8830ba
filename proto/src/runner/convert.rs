//! Runners, in both directions.

use hero_domain::{Result, Runner, RunnerState, ScriptType};

use crate::{
    convert::{circle_key, from_timestamp, named_on_both_sides, required, runner_id, timestamp},
    job::{script_type, to_script_type},
    pb::runner::v1 as pb,
};

named_on_both_sides!(to_state, state: RunnerState = pb::RunnerState, InvalidParams {
    Alive = "RUNNER_STATE_ALIVE",
    Draining = "RUNNER_STATE_DRAINING",
    Lost = "RUNNER_STATE_LOST",
});

fn to_slots((kind, slots): (ScriptType, u32)) -> pb::TypeSlots {
    pb::TypeSlots { script_type: to_script_type(kind).into(), slots }
}

fn slots(it: &pb::TypeSlots) -> Result<(ScriptType, u32)> {
    Ok((script_type(it.script_type, "slots_by_type")?, it.slots))
}

fn to_not_offered((kind, why): (ScriptType, String)) -> pb::NotOffered {
    pb::NotOffered { script_type: to_script_type(kind).into(), why }
}

fn not_offered(it: pb::NotOffered) -> Result<(ScriptType, String)> {
    Ok((script_type(it.script_type, "not_offered")?, it.why))
}

pub(crate) fn to_runner(runner: Runner) -> pb::Runner {
    pb::Runner {
        id: runner.id.to_string(),
        script_types: runner.script_types.into_iter().map(|kind| to_script_type(kind).into()).collect(),
        circles: runner.circles.into_iter().map(|key| key.to_string()).collect(),
        slots: runner.slots,
        slots_by_type: runner.slots_by_type.into_iter().map(to_slots).collect(),
        not_offered: runner.not_offered.into_iter().map(to_not_offered).collect(),
        max_running_per_context: runner.max_running_per_context,
        busy: runner.busy,
        host: runner.host,
        version: runner.version,
        sandbox: runner.sandbox,
        started_at: Some(from_timestamp(runner.started_at)),
        last_seen_at: Some(from_timestamp(runner.last_seen_at)),
        lease_until: Some(from_timestamp(runner.lease_until)),
        state: to_state(runner.state).into(),
    }
}

pub(crate) fn runner(runner: pb::Runner) -> Result<Runner> {
    let time = |at: Option<prost_types::Timestamp>, field| timestamp(required(at, field)?, field);
    Ok(Runner {
        id: runner_id(&runner.id, "id")?,
        script_types: runner
            .script_types
            .into_iter()
            .map(|kind| script_type(kind, "script_types"))
            .collect::<Result<_>>()?,
        circles: runner.circles.iter().map(|key| circle_key(key, "circles")).collect::<Result<_>>()?,
        slots: runner.slots,
        slots_by_type: runner.slots_by_type.iter().map(slots).collect::<Result<_>>()?,
        not_offered: runner.not_offered.into_iter().map(not_offered).collect::<Result<_>>()?,
        max_running_per_context: runner.max_running_per_context,
        busy: runner.busy,
        host: runner.host,
        version: runner.version,
        sandbox: runner.sandbox,
        started_at: time(runner.started_at, "started_at")?,
        last_seen_at: time(runner.last_seen_at, "last_seen_at")?,
        lease_until: time(runner.lease_until, "lease_until")?,
        state: state(runner.state, "state")?,
    })
}

#[cfg(test)]
mod tests {
    use hero_domain::{CircleKey, Runner, RunnerState, ScriptType, Timestamp};

    use super::{runner, to_runner};
    use crate::pb::runner::v1 as pb;

    fn example(state: RunnerState) -> Runner {
        Runner {
            id: "node-1.python_0".parse().unwrap(),
            script_types: ScriptType::ALL.to_vec(),
            circles: vec![format!("02{}", "ab".repeat(32)).parse::<CircleKey>().unwrap()],
            slots: 8,
            slots_by_type: [(ScriptType::Osis, 6), (ScriptType::V, 2)].into(),
            not_offered: [(ScriptType::Sal, "no".into())].into(),
            max_running_per_context: Some(4),
            busy: 3,
            host: "node-1".into(),
            version: "0.1.0".into(),
            sandbox: "required: seccomp".into(),
            started_at: Timestamp::from_millis(1),
            last_seen_at: Timestamp::from_millis(2),
            lease_until: Timestamp::from_millis(3),
            state,
        }
    }

    #[test]
    fn a_runner_survives() {
        for state in [RunnerState::Alive, RunnerState::Draining, RunnerState::Lost] {
            assert_eq!(runner(to_runner(example(state))).unwrap(), example(state));
        }
    }

    #[test]
    fn what_is_missing_or_unspecified_is_refused_by_name() {
        let whole = to_runner(example(RunnerState::Alive));
        let cases = [
            ("id", pb::Runner { id: "a b".into(), ..whole.clone() }),
            ("script_types", pb::Runner { script_types: vec![0], ..whole.clone() }),
            ("circles", pb::Runner { circles: vec!["me".into()], ..whole.clone() }),
            ("started_at", pb::Runner { started_at: None, ..whole.clone() }),
            ("lease_until", pb::Runner { lease_until: None, ..whole.clone() }),
            ("state", pb::Runner { state: 0, ..whole.clone() }),
            ("state", pb::Runner { state: 99, ..whole }),
        ];
        for (field, case) in cases {
            assert_eq!(runner(case).unwrap_err().field(), Some(field));
        }
    }
}
