//! Who is asking: a secret says, or the sender's key; nobody else gets in.

use std::{collections::HashMap, time::Duration};

use hero_domain::{ApiError, Caller, CircleKey, DEFAULT_CALLER, OverlayKey, Reason, Result, ports::Keys};

use crate::config::Peer;

pub(crate) struct Peers<K> {
    keys: K,
    known: HashMap<OverlayKey, Peer>,
    failure_delay: Duration,
}

impl<K: Keys> Peers<K> {
    pub(crate) fn new(keys: K, peers: Vec<Peer>, failure_delay: Duration) -> Self {
        let known = peers.into_iter().map(|peer| (peer.pk.clone(), peer)).collect();
        Self { keys, known, failure_delay }
    }

    pub(crate) async fn caller(
        &self,
        from: &OverlayKey,
        secret: Option<&str>,
        circle: Option<CircleKey>,
    ) -> Result<Caller> {
        let Some(secret) = secret else { return self.peer(from, circle) };
        let known = match self.keys.identify(Some(secret)).await {
            Ok(caller) if caller.name == DEFAULT_CALLER => Err(ApiError::new(
                Reason::AuthenticationRequired,
                "the supervisor has no secret configured, so nobody can be told apart; configure one there",
            )),
            known => known,
        };
        if matches!(&known, Err(error) if error.reason() == Reason::AuthenticationRequired) {
            // Whoever guesses guesses slowly; the limit per sender bounds how many do so at once.
            tokio::time::sleep(self.failure_delay).await;
        }
        known
    }

    fn peer(&self, from: &OverlayKey, circle: Option<CircleKey>) -> Result<Caller> {
        let peer = self.known.get(from).ok_or_else(|| {
            ApiError::new(
                Reason::AuthenticationRequired,
                "this node does not know yours; bring a secret as member `secret` of the params, or have your \
                 public key added to its peers",
            )
        })?;
        let circle = match (peer.circles.as_slice(), circle) {
            ([], None) => None,
            ([first, ..], None) => Some(first.clone()),
            (circles, Some(named)) if circles.contains(&named) => Some(named),
            (_, Some(named)) => {
                let words = format!("this node does not let yours into circle {named}");
                return Err(ApiError::new(Reason::ScopeInsufficient, words).with_field("circle"));
            }
        };
        Ok(Caller { name: format!("mycelium:{from}"), scope: peer.scope, circle })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hero_domain::{Caller, OverlayKey, Reason, Scope};
    use hero_testing::FakeNode;

    use super::Peers;
    use crate::config::Peer;

    fn key(digit: char) -> OverlayKey {
        digit.to_string().repeat(64).parse().unwrap()
    }

    #[tokio::test]
    async fn a_peer_or_a_secret_gets_in_and_nobody_else() {
        let node = FakeNode::new();
        let circle = format!("02{}", "ab".repeat(32)).parse().unwrap();
        let peer = Peer { pk: key('a'), scope: Scope::User, circles: vec![], ip: None };
        let tenant = Peer { pk: key('b'), scope: Scope::User, circles: vec![circle], ip: None };
        let peers = Peers::new(node.clone(), vec![peer, tenant.clone()], Duration::ZERO);
        let stranger = peers.caller(&key('c'), None, None).await.unwrap_err();
        assert_eq!(stranger.reason(), Reason::AuthenticationRequired);
        assert_eq!(peers.caller(&key('a'), None, None).await.unwrap().scope, Scope::User);
        let inside = peers.caller(&key('b'), None, None).await.unwrap();
        assert_eq!(inside.circle, Some(tenant.circles[0].clone()));
        let other = format!("03{}", "cd".repeat(32)).parse().unwrap();
        let outside = peers.caller(&key('b'), None, Some(other)).await.unwrap_err();
        assert_eq!(outside.reason(), Reason::ScopeInsufficient);

        let open = peers.caller(&key('c'), Some("any"), None).await.unwrap_err();
        assert_eq!(open.reason(), Reason::AuthenticationRequired, "a node without secrets is for loopback");
        node.add_key("s", Caller { name: "ops".into(), scope: Scope::Admin, circle: None });
        assert_eq!(peers.caller(&key('c'), Some("s"), None).await.unwrap().name, "ops");
        let wrong = peers.caller(&key('a'), Some("wrong"), None).await.unwrap_err();
        assert_eq!(wrong.reason(), Reason::AuthenticationRequired);
    }
}
