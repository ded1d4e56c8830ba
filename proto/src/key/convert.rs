//! Callers as messages, in both directions.

use hero_domain::{AuditEntry, Caller, CreatedKey, KeyInfo, NewKey, Result, Scope};

use crate::{
    convert::{circle_key, from_timestamp, named_on_both_sides, required, timestamp},
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

pub(super) fn to_new_key(key: NewKey) -> pb::CreateKeyRequest {
    pb::CreateKeyRequest { name: key.name, scope: to_scope(key.scope).into(), circle: key.circle }
}

pub(super) fn new_key(key: pb::CreateKeyRequest) -> Result<NewKey> {
    Ok(NewKey { name: key.name, scope: scope(key.scope, "scope")?, circle: key.circle })
}

pub(super) fn to_info(key: KeyInfo) -> pb::ApiKey {
    pb::ApiKey {
        name: key.name,
        scope: to_scope(key.scope).into(),
        circle: key.circle.map(|circle| circle.to_string()),
        created_by: key.created_by,
        created_at: Some(from_timestamp(key.created_at)),
        last_used_at: key.last_used_at.map(from_timestamp),
    }
}

pub(super) fn info(key: Option<pb::ApiKey>) -> Result<KeyInfo> {
    let key = required(key, "key")?;
    Ok(KeyInfo {
        name: key.name,
        scope: scope(key.scope, "scope")?,
        circle: key.circle.map(|key| circle_key(&key, "circle")).transpose()?,
        created_by: key.created_by,
        created_at: timestamp(required(key.created_at, "created_at")?, "created_at")?,
        last_used_at: key.last_used_at.map(|at| timestamp(at, "last_used_at")).transpose()?,
    })
}

pub(super) fn created(key: Option<pb::ApiKey>, secret: String) -> Result<CreatedKey> {
    Ok(CreatedKey { info: info(key)?, secret })
}

pub(super) fn to_entry(entry: AuditEntry) -> pb::AuditEntry {
    let AuditEntry { id, at, actor, action, subject } = entry;
    pb::AuditEntry { id, at: Some(from_timestamp(at)), actor, action, subject }
}

pub(super) fn entry(entry: pb::AuditEntry) -> Result<AuditEntry> {
    let pb::AuditEntry { id, at, actor, action, subject } = entry;
    Ok(AuditEntry { id, at: timestamp(required(at, "at")?, "at")?, actor, action, subject })
}

#[cfg(test)]
mod tests {
    use hero_domain::{AuditEntry, Caller, KeyInfo, NewKey, Scope, Timestamp};

    use super::{caller, entry, info, new_key, to_caller, to_entry, to_info, to_new_key};
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

    #[test]
    fn a_key_and_a_line_of_the_record_survive() {
        let at = Timestamp::from_millis(1_800_000_000_123);
        let circle: hero_domain::CircleKey = format!("02{}", "ab".repeat(32)).parse().unwrap();
        for circle in [None, Some(circle)] {
            let asked = NewKey {
                name: "ci".into(),
                scope: Scope::Register,
                circle: circle.as_ref().map(ToString::to_string),
            };
            assert_eq!(new_key(to_new_key(asked.clone())).unwrap(), asked);
            let known = KeyInfo {
                name: "ci".into(),
                scope: Scope::User,
                last_used_at: circle.as_ref().map(|_| at),
                circle,
                created_by: "admin".into(),
                created_at: at,
            };
            assert_eq!(info(Some(to_info(known.clone()))).unwrap(), known);
        }
        let line = AuditEntry {
            id: "1-0".into(),
            at,
            actor: "admin".into(),
            action: "create_key".into(),
            subject: "ci".into(),
        };
        assert_eq!(entry(to_entry(line.clone())).unwrap(), line);
    }
}
