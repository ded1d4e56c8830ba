//! The message of the bus, as old clients and old daemons write and read it.
//!
//! Source of the contract: `contracts/msgbus.md`, sections 1 and 4. Decoding is lenient (missing members and
//! nulls are zero values, unknown members are ignored, names match in any case); encoding is exact (members
//! in a fixed order, all present, `<`, `>` and `&` escaped), because peers compare what they sign.

use std::{
    fmt,
    io::{self, Write as _},
};

use md5::{Digest, Md5};
use serde::{
    Deserialize, Deserializer, Serializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

/// The only version there is.
pub const VERSION: i64 = 1;

/// A request or a reply.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// Always 1.
    pub ver: i64,
    /// `<dst>.<n>`, given by the sender's relay.
    pub uid: String,
    /// The command, which names the queue of the service.
    pub cmd: String,
    /// Seconds until the request expires; 0 is 3600. Not signed.
    pub exp: i64,
    /// Attempts that are left after the first. Not signed.
    pub retries: i64,
    /// The payload, base64 by convention.
    pub dat: String,
    /// The sender's twin.
    pub src: i64,
    /// The receivers' twins; exactly one on the wire.
    pub dst: Vec<i64>,
    /// The queue that the answer is expected in.
    pub ret: String,
    /// Unused. Not signed.
    pub shm: String,
    /// Unix seconds, rewritten when it is picked up and when it is signed.
    pub now: i64,
    /// Whether it came in through /zbus-cmd.
    pub pxy: bool,
    /// Why it failed; empty: it did not. Not signed.
    pub err: String,
    /// Hex of a type byte and 64 bytes of signature.
    pub sig: String,
}

/// A message that breaks a rule of the bus. The words are those of the old daemon, which clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// `ver` is not 1.
    #[error("protocol version mismatch")]
    Version,
    /// `cmd` is empty.
    #[error("missing command request")]
    NoCommand,
    /// `dst` is empty.
    #[error("missing twin destination")]
    NoDestination,
    /// `ret` is empty.
    #[error("return queue not defined")]
    NoReturnQueue,
}

impl Message {
    /// Reads the first JSON value of `bytes`; what follows it is ignored, as the old daemon does.
    ///
    /// # Errors
    /// When it is not JSON, not an object, or a known member has the wrong type.
    pub fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        Self::deserialize(&mut serde_json::Deserializer::from_slice(bytes))
    }

    /// The exact encoding of the old daemon, without a line end.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.to_json_for(&self.ret)
    }

    /// The same with another return queue.
    pub(crate) fn to_json_for(&self, ret: &str) -> String {
        let mut out = Vec::with_capacity(384 + self.dat.len() + self.err.len());
        let number = |out: &mut Vec<u8>, name: &str, number: i64| {
            out.extend_from_slice(name.as_bytes());
            write!(out, "{number}").expect("memory takes what it is given");
        };
        let text = |out: &mut Vec<u8>, name: &str, text: &str| {
            out.extend_from_slice(name.as_bytes());
            put_text(out, text);
        };
        number(&mut out, r#"{"ver":"#, self.ver);
        text(&mut out, r#","uid":"#, &self.uid);
        text(&mut out, r#","cmd":"#, &self.cmd);
        number(&mut out, r#","exp":"#, self.exp);
        number(&mut out, r#","try":"#, self.retries);
        text(&mut out, r#","dat":"#, &self.dat);
        number(&mut out, r#","src":"#, self.src);
        out.extend_from_slice(br#","dst":"#);
        if self.dst.is_empty() {
            out.extend_from_slice(b"null");
        }
        for (at, dst) in self.dst.iter().enumerate() {
            number(&mut out, if at == 0 { "[" } else { "," }, *dst);
        }
        if !self.dst.is_empty() {
            out.push(b']');
        }
        text(&mut out, r#","ret":"#, ret);
        text(&mut out, r#","shm":"#, &self.shm);
        number(&mut out, r#","now":"#, self.now);
        out.extend_from_slice(if self.pxy { br#","pxy":true"# } else { br#","pxy":false"# });
        text(&mut out, r#","err":"#, &self.err);
        text(&mut out, r#","sig":"#, &self.sig);
        out.push(b'}');
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    /// Checks what the bus demands of every message, in the order of the old daemon.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.ver != VERSION {
            return Err(Invalid::Version);
        }
        if self.cmd.is_empty() {
            return Err(Invalid::NoCommand);
        }
        if self.dst.is_empty() {
            return Err(Invalid::NoDestination);
        }
        if self.ret.is_empty() {
            return Err(Invalid::NoReturnQueue);
        }
        Ok(())
    }

    /// What a signature covers: MD5 of the plain concatenation of ver, uid, cmd, dat, src, each dst, ret, now
    /// and pxy. `exp`, `try`, `shm` and `err` are not covered, so they are advice and no more.
    #[must_use]
    pub fn challenge(&self) -> [u8; 16] {
        let mut hash = Md5::new();
        let Self { ver, uid, cmd, src, ret, now, pxy, .. } = self;
        hash.update(format!("{ver}{uid}{cmd}"));
        hash.update(&self.dat);
        match self.dst[..] {
            [dst] => hash.update(format!("{src}{dst}{ret}{now}{pxy}")),
            _ => {
                let dst: String = self.dst.iter().map(i64::to_string).collect();
                hash.update(format!("{src}{dst}{ret}{now}{pxy}"));
            }
        }
        hash.finalize().into()
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MessageVisitor)
    }
}

/// A member's name in small letters; empty: one that nobody knows.
struct Name(&'static str);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl Visitor<'_> for NameVisitor {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, text: &str) -> Result<Name, E> {
        const KNOWN: [&str; 14] = [
            "ver", "uid", "cmd", "exp", "try", "dat", "src", "dst", "ret", "shm", "now", "pxy", "err", "sig",
        ];
        Ok(Name(KNOWN.into_iter().find(|name| name.eq_ignore_ascii_case(text)).unwrap_or_default()))
    }
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = Message;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Message, A::Error> {
        /// A null leaves the member at its zero value.
        fn or_zero<'de, A: MapAccess<'de>, T: Deserialize<'de> + Default>(
            map: &mut A,
        ) -> Result<T, A::Error> {
            Ok(map.next_value::<Option<T>>()?.unwrap_or_default())
        }

        let mut message = Message::default();
        while let Some(Name(name)) = map.next_key()? {
            match name {
                "ver" => message.ver = or_zero(&mut map)?,
                "uid" => message.uid = or_zero(&mut map)?,
                "cmd" => message.cmd = or_zero(&mut map)?,
                "exp" => message.exp = or_zero(&mut map)?,
                "try" => message.retries = or_zero(&mut map)?,
                "dat" => message.dat = or_zero(&mut map)?,
                "src" => message.src = or_zero(&mut map)?,
                "dst" => message.dst = or_zero(&mut map)?,
                "ret" => message.ret = or_zero(&mut map)?,
                "shm" => message.shm = or_zero(&mut map)?,
                "now" => message.now = or_zero(&mut map)?,
                "pxy" => message.pxy = or_zero(&mut map)?,
                "err" => message.err = or_zero(&mut map)?,
                "sig" => message.sig = or_zero(&mut map)?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(message)
    }
}

/// Writes a text in quotes. Payloads are base64: looking at all their letters at once costs a tenth of looking at one after
/// the other, which was most of what a large message cost.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let needs_escape =
        |byte: u8| !(b' '..=b'~').contains(&byte) || matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&');
    if text.bytes().fold(false, |any, byte| any | needs_escape(byte)) {
        let mut serializer = serde_json::Serializer::with_formatter(out, EscapeHtml);
        return serializer.serialize_str(text).expect("a text always encodes");
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Writes `<`, `>`, `&` and the two line separators as escapes, as the old daemon's encoder does.
struct EscapeHtml;

impl serde_json::ser::Formatter for EscapeHtml {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        let mut rest = text;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let found = rest[at..].chars().next().expect("found at this place");
            writer.write_all(&rest.as_bytes()[..at])?;
            write!(writer, "\\u{:04x}", u32::from(found))?;
            rest = &rest[at + found.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Invalid, Message};

    pub(crate) fn vector() -> Message {
        Message {
            ver: 1,
            uid: "1002.117".into(),
            cmd: "wallet.stellar.balance.tft".into(),
            exp: 3600,
            retries: 4,
            dat: "aGVsbG8=".into(),
            src: 1001,
            dst: vec![1002],
            ret: "msgbus.system.reply".into(),
            now: 1_621_944_461,
            ..Message::default()
        }
    }

    #[test]
    fn challenge_is_the_contracts_vector() {
        let mut message = vector();
        assert_eq!(hex::encode(message.challenge()), "7cfd0cb3d10c1d5042072adf5100fe35");
        message.dst = vec![1002, 1003];
        message.pxy = true;
        assert_eq!(hex::encode(message.challenge()), "22e02a90d1aaf732e555e2468dccef3b");
    }

    #[test]
    fn unsigned_members_do_not_change_the_challenge() {
        let message = Message { exp: 1, retries: 9, shm: "x".into(), err: "y".into(), ..vector() };
        assert_eq!(message.challenge(), vector().challenge());
    }

    #[test]
    fn encodes_every_member_in_order() {
        let text = Message { cmd: "a<b>&c".into(), ..Message::default() }.to_json();
        assert_eq!(
            text,
            r#"{"ver":0,"uid":"","cmd":"a\u003cb\u003e\u0026c","exp":0,"try":0,"dat":"","src":0,"dst":null,"ret":"","shm":"","now":0,"pxy":false,"err":"","sig":""}"#
        );
        assert_eq!(Message::from_json(vector().to_json().as_bytes()).unwrap(), vector());
    }

    proptest! {
        #[test]
        fn texts_are_escaped_as_the_old_encoder_does(text in "[a-c<>&\u{2028}\u{2029}\u{20ac}\"\\\\]{0,12}") {
            let json = Message { dat: text.clone(), ..Message::default() }.to_json();
            prop_assert!(!json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']), "{json}");
            prop_assert_eq!(Message::from_json(json.as_bytes()).unwrap().dat, text);
        }
    }

    #[test]
    fn decodes_leniently() {
        let text =
            br#" {"VER":1,"Cmd":"c","dst":[2],"tag":"x","deep":{"a":[1]},"ret":null,"now":5} trailing"#;
        let message = Message::from_json(text).unwrap();
        assert_eq!(
            (message.ver, message.cmd.as_str(), message.dst, message.ret.as_str()),
            (1, "c", vec![2], "")
        );
        for bad in ["", "[]", "1", r#"{"ver":"1"}"#, r#"{"dst":7}"#, r#"{"ver":1.5}"#, r#"{"dat":1}"#] {
            assert!(Message::from_json(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn rules_are_checked_in_the_old_daemons_order() {
        let mut message = Message::default();
        assert_eq!(message.validate(), Err(Invalid::Version));
        message.ver = 1;
        assert_eq!(message.validate(), Err(Invalid::NoCommand));
        message.cmd = "c".into();
        assert_eq!(message.validate(), Err(Invalid::NoDestination));
        message.dst = vec![1];
        assert_eq!(message.validate(), Err(Invalid::NoReturnQueue));
        message.ret = "r".into();
        assert_eq!(message.validate(), Ok(()));
    }

    fn any_name() -> impl Strategy<Value = String> {
        let known = "(?i)(ver|uid|cmd|exp|try|dat|src|dst|ret|shm|now|pxy|err|sig|tag)";
        prop_oneof![known.prop_map(|name| name.replace('ſ', "s")), "[a-z]{0,4}".prop_map(|name| name)]
    }

    fn any_value() -> impl Strategy<Value = String> {
        let flat = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|value| value.to_string()),
            any::<i64>().prop_map(|value| value.to_string()),
            "-?[0-9]{1,25}(\\.[0-9]{1,3})?(e[0-9]{1,3})?".prop_map(|value| value),
            ".{0,20}".prop_map(|value| serde_json::to_string(&value).unwrap()),
        ];
        flat.prop_recursive(4, 16, 4, |inner| {
            let list = proptest::collection::vec(inner.clone(), 0..4);
            prop_oneof![
                list.prop_map(|values| format!("[{}]", values.join(","))),
                inner.prop_map(|value| format!("{{\"cmd\":{value}}}")),
            ]
        })
    }

    fn any_message() -> impl Strategy<Value = Message> {
        let texts = (".*", ".*", ".*", ".*", ".*");
        let numbers = any::<(i64, i64, i64, i64, i64)>();
        (texts, numbers, proptest::collection::vec(any::<i64>(), 0..4), any::<bool>()).prop_map(
            |((uid, cmd, dat, ret, err), (ver, exp, retries, src, now), dst, pxy)| Message {
                ver,
                uid,
                cmd,
                exp,
                retries,
                dat,
                src,
                dst,
                ret,
                now,
                pxy,
                err,
                ..Message::default()
            },
        )
    }

    proptest! {
        #[test]
        fn any_message_survives(message in any_message()) {
            let text = message.to_json();
            prop_assert!(!text.contains(['<', '>', '&']));
            prop_assert_eq!(Message::from_json(text.as_bytes()).unwrap(), message);
        }

        /// Members of any name and kind: what is read is read the same again, whatever its wrapping.
        #[test]
        fn any_members_are_read_or_refused(
            members in proptest::collection::vec((any_name(), any_value()), 0..8), rest in ".{0,20}",
        ) {
            let text: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            let text = format!(" {{{}}}{rest}", text.join(","));
            if let Ok(message) = Message::from_json(text.as_bytes()) {
                prop_assert_eq!(Message::from_json(message.to_json().as_bytes()).unwrap(), message);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in ".*") {
            for bytes in [&bytes[..], text.as_bytes()] {
                if let Ok(message) = Message::from_json(bytes) {
                    let _ = (message.validate(), message.challenge());
                }
            }
        }
    }
}
