//! Who is behind a call, as the transport found out.

use std::sync::{Arc, OnceLock};

use hero_domain::{Caller, CircleKey, Scope};

use crate::Pace;

/// The extension that a transport puts beside every call. A call without one is refused.
///
/// Cheap to clone: jsonrpsee clones the extensions for each call of a connection and each member of a batch. All
/// clones are the same session: who proves a key on a connection is known to its later calls.
#[derive(Debug, Clone)]
pub struct Session(Arc<State>);

#[derive(Debug)]
struct State {
    caller: OnceLock<Arc<Caller>>,
    guest: Option<Guest>,
    has_websocket: bool,
    pace: Option<Arc<Pace>>,
    traceparent: Option<String>,
}

/// Somebody who has knocked at a circle, and not proved a key yet.
#[derive(Debug)]
struct Guest {
    /// Covers nothing: no method but those for guests is called with it.
    nobody: Caller,
    circle: CircleKey,
    /// Whether there is a connection that a key can be bound to.
    is_lasting: bool,
}

impl Session {
    /// A session of `caller`; `traceparent` is the W3C trace context that the transport brought, if any.
    #[must_use]
    pub fn new(caller: impl Into<Arc<Caller>>, traceparent: Option<String>) -> Self {
        Self::of(caller.into(), false, traceparent)
    }

    /// A session of `caller` on a WebSocket, over which more than answers can be sent.
    #[must_use]
    pub fn on_websocket(caller: impl Into<Arc<Caller>>, traceparent: Option<String>) -> Self {
        Self::of(caller.into(), true, traceparent)
    }

    fn of(caller: Arc<Caller>, has_websocket: bool, traceparent: Option<String>) -> Self {
        Self(Arc::new(State {
            caller: OnceLock::from(caller),
            guest: None,
            has_websocket,
            pace: None,
            traceparent,
        }))
    }

    /// A session of somebody who has to prove a key to a circle first. `is_lasting`: what is proved holds for the
    /// calls that follow, as on a WebSocket.
    #[must_use]
    pub fn guest(circle: CircleKey, is_lasting: bool, traceparent: Option<String>) -> Self {
        let nobody =
            Caller { name: "guest".to_owned(), scope: Scope::Register, circle: Some(circle.clone()) };
        let guest = Some(Guest { nobody, circle, is_lasting });
        Self(Arc::new(State {
            caller: OnceLock::new(),
            guest,
            has_websocket: is_lasting,
            pace: None,
            traceparent,
        }))
    }

    /// The same with a bucket that each of its calls takes a token from. Call it before the session is cloned.
    #[must_use]
    pub fn paced(mut self, pace: Option<Arc<Pace>>) -> Self {
        if let Some(state) = Arc::get_mut(&mut self.0) {
            state.pace = pace;
        }
        self
    }

    /// The bucket of its calls.
    #[must_use]
    pub fn pace(&self) -> Option<&Pace> {
        self.0.pace.as_deref()
    }

    /// Who calls; for a guest: nobody. Ask [`Session::is_guest`] first: the table of methods does.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        match (self.0.caller.get(), &self.0.guest) {
            (Some(caller), _) => caller,
            (None, Some(guest)) => &guest.nobody,
            (None, None) => unreachable!("a session is made of a caller or of a guest"),
        }
    }

    /// Whether nobody has proved anything yet.
    #[must_use]
    pub fn is_guest(&self) -> bool {
        self.0.caller.get().is_none()
    }

    /// The circle that was knocked at.
    #[must_use]
    pub fn circle(&self) -> Option<&CircleKey> {
        match &self.0.guest {
            Some(guest) => Some(&guest.circle),
            None => self.caller().circle.as_ref(),
        }
    }

    /// Whether what is proved holds for the calls that follow.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        self.0.guest.as_ref().is_some_and(|guest| guest.is_lasting)
    }

    /// Whether more than answers can be sent.
    #[must_use]
    pub fn has_websocket(&self) -> bool {
        self.0.has_websocket
    }

    /// From now on the calls are this caller's; whether they are. Who is known already stays who it is.
    pub fn bind(&self, caller: Caller) -> bool {
        self.0.caller.get_or_init(|| Arc::new(caller.clone())).as_ref() == &caller
    }

    /// The trace that the call belongs to.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        self.0.traceparent.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use hero_domain::{Caller, CircleKey, Scope};

    use super::Session;

    fn circle() -> CircleKey {
        format!("02{}", "ab".repeat(32)).parse().unwrap()
    }

    #[test]
    fn a_guest_is_who_it_has_proved_to_be_from_then_on() {
        let session = Session::guest(circle(), true, None);
        let clone = session.clone();
        assert!(session.is_guest() && session.caller().require(Scope::User).is_err());
        assert_eq!(session.circle(), Some(&circle()));
        let member = Caller { name: "m".into(), scope: Scope::User, circle: Some(circle()) };
        assert!(session.bind(member.clone()) && clone.bind(member.clone()));
        assert!(!clone.is_guest() && clone.caller() == &member);
        assert!(!clone.bind(Caller { name: "other".into(), ..member.clone() }), "once is for ever");
        assert_eq!(session.caller(), &member);
    }
}
