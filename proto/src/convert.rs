//! Pieces that the conversions of every contract share: ids, times, closed sets of names.

use hero_domain::{
    ApiError, CircleKey, IdError, JobId, NodeId, Reason, Result, RunnerId, ScheduleId, Timestamp,
};

pub(crate) fn malformed_id(error: &IdError, field: &str) -> ApiError {
    ApiError::new(Reason::IdMalformed, error.to_string()).with_field(field)
}

pub(crate) fn job_id(text: &str, field: &str) -> Result<JobId> {
    text.parse().map_err(|error| malformed_id(&error, field))
}

pub(crate) fn runner_id(text: &str, field: &str) -> Result<RunnerId> {
    text.parse().map_err(|error| malformed_id(&error, field))
}

pub(crate) fn node_id(text: &str, field: &str) -> Result<NodeId> {
    text.parse().map_err(|error| malformed_id(&error, field))
}

pub(crate) fn schedule_id(text: &str, field: &str) -> Result<ScheduleId> {
    text.parse().map_err(|error| malformed_id(&error, field))
}

pub(crate) fn circle_key(text: &str, field: &str) -> Result<CircleKey> {
    text.parse().map_err(|error| malformed_id(&error, field))
}

pub(crate) fn required<T>(value: Option<T>, field: &str) -> Result<T> {
    value.ok_or_else(|| ApiError::new(Reason::InvalidParams, "is required").with_field(field))
}

/// Puts the path of the whole before the field of a part.
pub(crate) fn within(error: ApiError, path: impl FnOnce() -> String) -> ApiError {
    let path = match error.field() {
        Some(field) => format!("{}.{field}", path()),
        None => path(),
    };
    error.with_field(path)
}

pub(crate) fn from_timestamp(at: Timestamp) -> prost_types::Timestamp {
    let millis = at.as_millis();
    let nanos = i32::try_from(millis.rem_euclid(1_000) * 1_000_000).unwrap_or_default();
    prost_types::Timestamp { seconds: millis.div_euclid(1_000), nanos }
}

pub(crate) fn timestamp(at: prost_types::Timestamp, field: &str) -> Result<Timestamp> {
    let out_of_range = || ApiError::new(Reason::InvalidParams, "is not a time").with_field(field);
    if !(0..1_000_000_000).contains(&at.nanos) {
        return Err(out_of_range());
    }
    at.seconds
        .checked_mul(1_000)
        .and_then(|millis| millis.checked_add(i64::from(at.nanos / 1_000_000)))
        .map(Timestamp::from_millis)
        .ok_or_else(out_of_range)
}

/// The two directions of an enum whose variants have the same names on both sides. What is unspecified or
/// unknown is refused with the field, the reason and the names that there are.
macro_rules! named_on_both_sides {
    ($to:ident, $from:ident: $domain:ty = $wire:ty, $reason:ident { $($variant:ident = $name:literal),* $(,)? }) => {
        pub(crate) fn $to(value: $domain) -> $wire {
            match value { $(<$domain>::$variant => <$wire>::$variant,)* }
        }

        pub(crate) fn $from(value: i32, field: &str) -> hero_domain::Result<$domain> {
            match <$wire>::try_from(value) {
                $(Ok(<$wire>::$variant) => Ok(<$domain>::$variant),)*
                Ok(<$wire>::Unspecified) | Err(_) => Err(hero_domain::ApiError::new(
                    hero_domain::Reason::$reason,
                    format!("{value} is not one of the values {}", [$($name),*].join(", ")),
                )
                .with_field(field)),
            }
        }
    };
}
pub(crate) use named_on_both_sides;

#[cfg(test)]
mod tests {
    use hero_domain::{ApiError, Reason, Timestamp};
    use proptest::prelude::*;

    use super::{from_timestamp, timestamp, within};

    proptest! {
        #[test]
        fn a_time_survives(millis in any::<i64>()) {
            let at = Timestamp::from_millis(millis);
            prop_assert_eq!(timestamp(from_timestamp(at), "at").unwrap(), at);
        }
    }

    #[test]
    fn what_is_no_time_names_its_field() {
        for at in [
            prost_types::Timestamp { seconds: i64::MAX, nanos: 0 },
            prost_types::Timestamp { seconds: 0, nanos: -1 },
            prost_types::Timestamp { seconds: 0, nanos: 1_000_000_000 },
        ] {
            assert_eq!(timestamp(at, "run_at").unwrap_err().field(), Some("run_at"));
        }
    }

    #[test]
    fn a_path_goes_before_the_field() {
        let error = ApiError::new(Reason::ScriptEmpty, "no text");
        assert_eq!(within(error, || "jobs[3]".into()).field(), Some("jobs[3]"));
        let error = ApiError::new(Reason::ScriptEmpty, "no text").with_field("script");
        assert_eq!(within(error, || "jobs[3]".into()).field(), Some("jobs[3].script"));
    }
}
