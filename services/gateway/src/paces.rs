//! A token bucket for each key, and for each address that brings none.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use hero_domain::{Caller, CircleKey, DEFAULT_CALLER};
use hero_jsonrpc::Pace;
use parking_lot::Mutex;

use crate::config::LimitsConfig;

/// Callers that are remembered at once.
const MAX_REMEMBERED: usize = 16_384;

/// Whose bucket it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Whose {
    /// Somebody who has proved who it is, at the root or in a circle.
    Caller(String, Option<CircleKey>),
    /// Whoever calls from there; none: from this machine, over a unix socket.
    Address(Option<IpAddr>),
}

impl Whose {
    /// A caller that is known by a key, or by nothing but where it comes from.
    pub(crate) fn of(caller: Option<&Caller>, address: Option<IpAddr>) -> Self {
        match caller.filter(|caller| caller.name != DEFAULT_CALLER) {
            Some(caller) => Self::Caller(caller.name.clone(), caller.circle.clone()),
            None => Self::Address(address),
        }
    }
}

/// The buckets.
#[derive(Debug)]
pub(crate) struct Paces {
    per_second: u32,
    burst: u32,
    known: Mutex<HashMap<Whose, Arc<Pace>>>,
}

impl Paces {
    /// None: nobody is bounded.
    pub(crate) fn new(limits: &LimitsConfig) -> Option<Self> {
        let (per_second, burst) = (limits.max_calls_per_second, limits.max_calls_burst);
        (per_second > 0).then(|| Self { per_second, burst, known: Mutex::default() })
    }

    /// The bucket of this caller.
    pub(crate) fn of(&self, whose: Whose) -> Arc<Pace> {
        let mut known = self.known.lock();
        if known.len() >= MAX_REMEMBERED && !known.contains_key(&whose) {
            known.retain(|_, pace| !pace.is_full());
            if known.len() >= MAX_REMEMBERED {
                known.clear();
            }
        }
        Arc::clone(known.entry(whose).or_insert_with(|| Arc::new(Pace::new(self.per_second, self.burst))))
    }
}
