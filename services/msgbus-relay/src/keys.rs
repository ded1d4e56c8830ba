//! Every Redis key of the bus. The first group is the contract's, which old programs know; the second is ours.

use std::fmt::Write as _;

/// Requests of local programs.
pub(crate) const LOCAL: &str = "msgbus.system.local";
/// Requests of other twins, as an old daemon leaves them behind. Ours go to their service at once.
pub(crate) const REMOTE: &str = "msgbus.system.remote";
/// Replies of local services; also the `ret` of every request on the wire.
pub(crate) const REPLY: &str = "msgbus.system.reply";
/// Requests that wait for an answer: uid → the original message.
pub(crate) const BACKLOG: &str = "msgbus.system.backlog";
/// The number of the last request to a twin; its id follows.
pub(crate) const COUNTER: &str = "msgbus.counter.";
/// The queue of a command; its name follows.
pub(crate) const COMMAND: &str = "msgbus.";

/// uid → `<accepted, ms>:<ret>` of a request that waits for an answer. Whoever removes this answers it.
pub(crate) const WAITING: &str = "msgbus.system.backlog.ret";
/// When requests expire, ms.
pub(crate) const EXPIRY: &str = "msgbus.system.backlog.due";
/// Requests that the destination has not taken yet, and when they are tried again, ms.
pub(crate) const OUTBOX: &str = "msgbus.system.outbox";
/// Replies that the asking twin has not taken yet: id → the reply.
pub(crate) const ANSWERS: &str = "msgbus.system.answers";
/// When those are tried again, ms.
pub(crate) const ANSWERS_DUE: &str = "msgbus.system.answers.due";
/// How often the sending of a request or a reply has failed.
pub(crate) const FAILURES: &str = "msgbus.system.failures";
/// Items that nothing can be done with, newest last.
pub(crate) const DEAD: &str = "msgbus.system.dead";
/// Messages that came in lately; the sender and its uid follow.
pub(crate) const SEEN: &str = "msgbus.system.seen.";
/// Return queues that were given out by /zbus-cmd; the uuid follows.
pub(crate) const PROXY: &str = "msgbus.system.proxy.";
/// Long texts on their way into a list; a uuid follows.
pub(crate) const PARCEL: &str = "msgbus.system.parcel.";
/// The queue of JSON-RPC requests, which the relay itself serves.
pub(crate) const RPC_COMMAND: &str = "hero.rpc";

const PROCESSING: &str = ".processing";

/// Where the items of a queue are while they are worked on.
pub(crate) fn processing(queue: &str) -> String {
    format!("{queue}{PROCESSING}")
}

/// The queue of a command.
pub(crate) fn command(cmd: &str) -> String {
    format!("{COMMAND}{cmd}")
}

/// Why a command may not name a queue: it is a control key of the bus, or no fit name.
pub(crate) fn refused_command(cmd: &str) -> Option<&'static str> {
    const RESERVED: [&str; 4] = ["system.", "counter.", "backlog.", "proxy."];
    const LONGEST: usize = 200;
    if RESERVED.iter().any(|prefix| cmd.starts_with(prefix)) || cmd.ends_with(PROCESSING) {
        return Some("the command is reserved");
    }
    if cmd.len() > LONGEST {
        return Some("the command is longer than 200 bytes");
    }
    if cmd.chars().any(char::is_control) {
        return Some("the command has control characters");
    }
    None
}

/// Whether answers may be put into this queue: anything but the keys that the bus itself works with.
pub(crate) fn is_return_queue(ret: &str) -> bool {
    let own = [LOCAL, REMOTE, REPLY, BACKLOG, WAITING, EXPIRY, OUTBOX, ANSWERS, ANSWERS_DUE, FAILURES, DEAD];
    !ret.is_empty()
        && !own.contains(&ret)
        && ![COUNTER, SEEN, PROXY, PARCEL].iter().any(|prefix| ret.starts_with(prefix))
        && !ret.ends_with(PROCESSING)
}

/// The names that the scripts use.
pub(crate) fn as_lua() -> String {
    let names = [
        ("BACKLOG", BACKLOG),
        ("WAITING", WAITING),
        ("EXPIRY", EXPIRY),
        ("OUTBOX", OUTBOX),
        ("ANSWERS", ANSWERS),
        ("ANSWERS_DUE", ANSWERS_DUE),
        ("FAILURES", FAILURES),
        ("DEAD", DEAD),
        ("COUNTER", COUNTER),
    ];
    let mut text = String::from("local call, try\n");
    for (name, key) in names {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "local {name} = '{key}'");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{is_return_queue, refused_command};

    #[test]
    fn commands_never_name_a_control_key() {
        for cmd in
            ["system.local", "system.reply", "counter.7", "backlog.x", "proxy.1", "hero.rpc.processing"]
        {
            assert_eq!(refused_command(cmd), Some("the command is reserved"), "{cmd}");
        }
        assert!(refused_command("a\nb").is_some() && refused_command(&"x".repeat(201)).is_some());
        for cmd in ["wallet.stellar.balance.tft", "systematic", "hero.rpc"] {
            assert_eq!(refused_command(cmd), None, "{cmd}");
        }
    }

    #[test]
    fn answers_never_go_into_a_control_key() {
        for ret in ["", "msgbus.system.reply", "msgbus.system.local", "msgbus.counter.1", "x.processing"] {
            assert!(!is_return_queue(ret), "{ret}");
        }
        for ret in ["5bf6bc", "msgbus.system.replies", "msgbus.mine"] {
            assert!(is_return_queue(ret), "{ret}");
        }
    }
}
