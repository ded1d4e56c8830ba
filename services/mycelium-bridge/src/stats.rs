//! What is counted, with labels made once.

use std::sync::LazyLock;

use hero_telemetry::{Attributes, metrics, names};

macro_rules! counted {
    ($(#[$doc:meta])* $name:ident, $counter:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            pub(crate) fn count(self) {
                static LABELS: LazyLock<Vec<Attributes>> =
                    LazyLock::new(|| [$($text),*].map(|text| Attributes::new(&[(names::OUTCOME, text)])).into());
                metrics().$counter.add(1, &LABELS[self as usize]);
            }
        }
    };
}

counted! {
    /// What became of a message that came in.
    Incoming, overlay_requests {
        /// It was dispatched.
        Taken = "taken",
        /// It came before, and got its first answer again.
        Repeated = "repeated",
        /// It came before, and is still worked on.
        Running = "running",
        /// It is over a limit, or nothing that can be read.
        Refused = "refused",
        /// Its sender sends too much, so nobody looked at it.
        Dropped = "dropped",
        /// It was taken up after a restart.
        Recovered = "recovered",
    }
}

counted! {
    /// What became of an answer.
    Outgoing, overlay_replies {
        /// It was handed to the daemon.
        Sent = "sent",
        /// It arrived.
        Received = "received",
        /// The daemon gave it up or forgot it, and it was sent again.
        SentAgain = "sent_again",
        /// The daemon still tries when it was looked.
        Pending = "pending",
        /// The daemon gave it up.
        Aborted = "aborted",
        /// The daemon does not know it any more: it was restarted.
        Forgotten = "forgotten",
        /// The deadline passed.
        GivenUp = "given_up",
    }
}

counted! {
    /// What became of a call to another node.
    Outward, overlay_calls {
        /// It was answered.
        Answered = "answered",
        /// It was sent, and nobody waits for its answer.
        Sent = "sent",
        /// It was to this very node.
        Local = "local",
        /// No answer came in time.
        Expired = "expired",
        /// The answer was none.
        Garbled = "garbled",
        /// A message without a topic that is no answer to anything.
        Stray = "stray",
    }
}
