//! Callers as messages, in both directions.

use hero_domain::{Caller, Result, Scope};

use crate::{
    convert::{circle_key, named_on_both_sides, required},
    pb::key::v1 as pb,
};

named_on_both_sides!(to_scope, scope: Scope = pb::Scope, InvalidParams {
    Admin = "SCOPE_ADMIN",
    User = "SCOPE_USER",
    Register = "SCOPE_REGISTER",
});

pub(crate) fn to_caller(caller: Caller) -> pb::Caller {
    pb::Caller {
        name: caller.name,
        scope: to_scope(caller.scope).into(),
        circle: caller.circle.map(|key| key.to_string()),
    }
}

pub(crate) fn caller(caller: Option<pb::Caller>) -> Result<Caller> {
    let caller = required(caller, "caller")?;
    Ok(Caller {
        name: caller.name,
        scope: scope(caller.scope, "scope")?,
        circle: caller.circle.map(|key| circle_key(&key, "circle")).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use hero_domain::{Caller, Scope};

    use super::{caller, to_caller};
    use crate::pb::key::v1 as pb;

    #[test]
    fn a_caller_survives() {
        for scope in [Scope::Admin, Scope::User, Scope::Register] {
            for circle in [None, format!("02{}", "ab".repeat(32)).parse().ok()] {
                let example = Caller { name: "büro".into(), scope, circle };
                assert_eq!(caller(Some(to_caller(example.clone()))).unwrap(), example);
            }
        }
    }

    #[test]
    fn what_is_missing_or_unspecified_is_refused_by_name() {
        let whole = to_caller(Caller::local());
        assert_eq!(caller(None).unwrap_err().field(), Some("caller"));
        let unspecified = pb::Caller { scope: 0, ..whole.clone() };
        assert_eq!(caller(Some(unspecified)).unwrap_err().field(), Some("scope"));
        let malformed = pb::Caller { circle: Some("me".into()), ..whole };
        assert_eq!(caller(Some(malformed)).unwrap_err().field(), Some("circle"));
    }
}
