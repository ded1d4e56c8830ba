//! Circles as messages, in both directions.

use hero_domain::{Circle, CircleLimits, NewCircle, Result};

use crate::{
    convert::{circle_key, from_timestamp, required, timestamp},
    pb::circle::v1 as pb,
};

pub(super) fn to_limits(limits: CircleLimits) -> pb::CircleLimits {
    pb::CircleLimits { max_timeout_s: limits.max_timeout_s, max_running: limits.max_running }
}

pub(super) fn limits(limits: Option<pb::CircleLimits>) -> CircleLimits {
    let limits = limits.unwrap_or_default();
    CircleLimits { max_timeout_s: limits.max_timeout_s, max_running: limits.max_running }
}

pub(super) fn new_circle(request: pb::AddCircleRequest) -> NewCircle {
    NewCircle { public_key: request.public_key, members: request.members, limits: limits(request.limits) }
}

pub(super) fn to_circle(circle: Circle) -> pb::Circle {
    pb::Circle {
        public_key: circle.public_key.to_string(),
        members: circle.members.iter().map(ToString::to_string).collect(),
        limits: Some(to_limits(circle.limits)),
        is_configured: circle.is_configured,
        created_at: circle.created_at.map(from_timestamp),
    }
}

pub(super) fn circle(circle: Option<pb::Circle>) -> Result<Circle> {
    let circle = required(circle, "circle")?;
    Ok(Circle {
        public_key: circle_key(&circle.public_key, "public_key")?,
        members: circle.members.iter().map(|key| circle_key(key, "members")).collect::<Result<_>>()?,
        limits: limits(circle.limits),
        is_configured: circle.is_configured,
        created_at: circle.created_at.map(|at| timestamp(at, "created_at")).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use hero_domain::{Circle, CircleLimits, Timestamp};

    use super::{circle, to_circle};
    use crate::pb::circle::v1 as pb;

    #[test]
    fn a_circle_survives() {
        let key = |digits: &str| format!("02{}", digits.repeat(32)).parse().unwrap();
        for created_at in [None, Some(Timestamp::from_millis(1_800_000_000_123))] {
            let example = Circle {
                public_key: key("ab"),
                members: vec![key("cd"), key("ef")],
                limits: CircleLimits {
                    max_timeout_s: created_at.map(|_| 60),
                    max_running: created_at.map(|_| 8),
                },
                is_configured: created_at.is_none(),
                created_at,
            };
            assert_eq!(circle(Some(to_circle(example.clone()))).unwrap(), example);
        }
    }

    #[test]
    fn what_is_no_circle_is_refused_by_name() {
        assert_eq!(circle(None).unwrap_err().field(), Some("circle"));
        assert_eq!(circle(Some(pb::Circle::default())).unwrap_err().field(), Some("public_key"));
    }
}
