//! The scripts, each put together from its parts and ready to be called.

use hero_redis::Script;

use crate::keys;

/// Which clock the scripts read.
#[derive(Clone, Copy)]
pub(crate) enum Clock {
    /// Redis' own, so that clock skew between hosts cannot matter.
    Redis,
    /// One that a test moves.
    #[cfg(feature = "model")]
    Test,
}

pub(crate) struct Scripts {
    pub(crate) create: Script,
    pub(crate) start: Script,
    pub(crate) stop: Script,
    pub(crate) delete: Script,
    pub(crate) log_append: Script,
    pub(crate) say: Script,
    pub(crate) exchange: Script,
    pub(crate) sign_in: Script,
    pub(crate) sign_out: Script,
    pub(crate) renew: Script,
    pub(crate) drain: Script,
    pub(crate) remove: Script,
    pub(crate) retry: Script,
    pub(crate) schedule_create: Script,
    pub(crate) schedule_pause: Script,
    pub(crate) schedule_delete: Script,
    pub(crate) schedule_fire: Script,
    pub(crate) sweep: Script,
    pub(crate) stray: Script,
    pub(crate) take: Script,
    pub(crate) object_put: Script,
    pub(crate) object_delete: Script,
    pub(crate) object_list: Script,
    pub(crate) object_find: Script,
    pub(crate) object_index: Script,
    pub(crate) counter_add: Script,
}

const CREATE: &str = include_str!("scripts/create.lua");
const EVENTS: &str = include_str!("scripts/events.lua");
const JOBS: &str = concat!(include_str!("scripts/jobs.lua"), include_str!("scripts/admission.lua"));
const OBJECTS: &str = include_str!("scripts/objects.lua");
const SESSION: &str = include_str!("scripts/session.lua");
const TAKE_BACK: &str = include_str!("scripts/take_back.lua");
const TIME_TEXT: &str = include_str!("scripts/time_text.lua");
const UNQUEUE: &str = include_str!("scripts/unqueue.lua");

impl Scripts {
    pub(crate) fn new(clock: Clock) -> Self {
        let names = keys::as_lua();
        let clock = match clock {
            Clock::Redis => include_str!("scripts/clock.lua"),
            #[cfg(feature = "model")]
            Clock::Test => include_str!("scripts/test_clock.lua"),
        };
        let script = |parts: &[&str]| {
            let all: Vec<&str> =
                [names.as_str(), clock, TIME_TEXT, EVENTS].into_iter().chain(parts.iter().copied()).collect();
            Script::new(&all)
        };
        Self {
            create: script(&[JOBS, CREATE]),
            start: script(&[JOBS, include_str!("scripts/start.lua")]),
            stop: script(&[JOBS, UNQUEUE, include_str!("scripts/stop.lua")]),
            delete: script(&[JOBS, UNQUEUE, include_str!("scripts/delete.lua")]),
            log_append: script(&[JOBS, include_str!("scripts/log_append.lua")]),
            say: script(&[include_str!("scripts/say.lua")]),
            exchange: script(&[JOBS, TAKE_BACK, SESSION, include_str!("scripts/exchange.lua")]),
            sign_in: script(&[JOBS, TAKE_BACK, include_str!("scripts/sign_in.lua")]),
            sign_out: script(&[JOBS, TAKE_BACK, SESSION, include_str!("scripts/sign_out.lua")]),
            renew: script(&[JOBS, TAKE_BACK, SESSION, include_str!("scripts/renew.lua")]),
            drain: script(&[include_str!("scripts/drain.lua")]),
            remove: script(&[JOBS, TAKE_BACK, include_str!("scripts/remove.lua")]),
            retry: script(&[JOBS, include_str!("scripts/retry.lua")]),
            schedule_create: script(&[include_str!("scripts/schedule_create.lua")]),
            schedule_pause: script(&[include_str!("scripts/schedule_pause.lua")]),
            schedule_delete: script(&[include_str!("scripts/schedule_delete.lua")]),
            // The checks of a due time go before the very script that creates jobs.
            schedule_fire: script(&[JOBS, UNQUEUE, include_str!("scripts/schedule_fire.lua"), CREATE]),
            sweep: script(&[JOBS, TAKE_BACK, include_str!("scripts/sweep.lua")]),
            stray: script(&[JOBS, TAKE_BACK, include_str!("scripts/stray.lua")]),
            take: script(&[include_str!("scripts/take.lua")]),
            object_put: script(&[OBJECTS, include_str!("scripts/object_put.lua")]),
            object_delete: script(&[OBJECTS, include_str!("scripts/object_delete.lua")]),
            object_list: script(&[OBJECTS, include_str!("scripts/object_list.lua")]),
            object_find: script(&[OBJECTS, include_str!("scripts/object_find.lua")]),
            object_index: script(&[OBJECTS, include_str!("scripts/object_index.lua")]),
            counter_add: script(&[include_str!("scripts/counter_add.lua")]),
        }
    }
}
