//! The scripts: definitions that all of them share, and a body for each.

use hero_redis::{Function, Library, Script};

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

macro_rules! scripts {
    ($($name:ident, $flags:expr, [$($part:literal),+];)+) => {
        pub(crate) struct Scripts {
            $(pub(crate) $name: Script,)+
        }

        /// The body of each, from its parts.
        const FUNCTIONS: &[Function] = &[$(Function {
            name: stringify!($name),
            flags: $flags,
            body: concat!($(include_str!(concat!("scripts/", $part, ".lua")), "\n"),+),
        }),+];

        impl Scripts {
            fn of(library: &Library) -> Self {
                Self { $($name: library.script(stringify!($name)),)+ }
            }
        }
    };
}

/// It brings something new, which a Redis whose memory is used up refuses.
const NEW: &[&str] = &[];
/// It frees memory or keeps running jobs going, and so is allowed then.
const ALWAYS: &[&str] = &["allow-oom"];
const READS: &[&str] = &["no-writes"];

scripts! {
    create, NEW, ["create"];
    start, NEW, ["start"];
    stop, ALWAYS, ["stop"];
    delete, ALWAYS, ["delete"];
    log_append, NEW, ["log_append"];
    follow, NEW, ["follow"];
    say, ALWAYS, ["say"];
    exchange, ALWAYS, ["session", "exchange"];
    sign_in, ALWAYS, ["sign_in"];
    sign_out, ALWAYS, ["session", "sign_out"];
    renew, ALWAYS, ["session", "renew"];
    drain, ALWAYS, ["drain"];
    remove, ALWAYS, ["remove"];
    retry, NEW, ["retry"];
    schedule_create, NEW, ["schedule_create"];
    schedule_pause, NEW, ["schedule_pause"];
    schedule_delete, ALWAYS, ["schedule_delete"];
    // The checks of a due time go before the very script that creates jobs.
    schedule_fire, NEW, ["schedule_fire", "create"];
    sweep, ALWAYS, ["sweep"];
    stray, ALWAYS, ["stray"];
    take, ALWAYS, ["take"];
    object_put, NEW, ["objects", "object_put"];
    object_delete, ALWAYS, ["objects", "object_delete"];
    object_list, READS, ["objects", "object_list"];
    object_find, READS, ["objects", "object_find"];
    object_index, NEW, ["objects", "object_index"];
    counter_add, NEW, ["counter_add"];
}

/// What they share, in an order in which each knows those before it.
const SHARED: &str = concat!(
    include_str!("scripts/time_text.lua"),
    include_str!("scripts/events.lua"),
    include_str!("scripts/jobs.lua"),
    include_str!("scripts/admission.lua"),
    include_str!("scripts/unqueue.lua"),
    include_str!("scripts/forget.lua"),
    include_str!("scripts/take_back.lua"),
    include_str!("scripts/begin.lua"),
);

impl Scripts {
    pub(crate) fn new(clock: Clock) -> Self {
        let clock = match clock {
            Clock::Redis => include_str!("scripts/clock.lua"),
            #[cfg(feature = "model")]
            Clock::Test => include_str!("scripts/test_clock.lua"),
        };
        let shared = [&keys::as_lua(), clock, SHARED].concat();
        Self::of(&Library::new("hero_jobs", &shared, "begin_call()", FUNCTIONS))
    }
}
