//! The node's key, made on its first start and kept in its folder.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, anyhow};
use hero_domain::NodeId;
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};

const KEY: &str = "node.key";
const STARTED: &str = "node.started";
/// Characters of the key that an id is made of.
const ID_CHARACTERS: usize = 16;

/// Who this node is, and since when.
pub(crate) struct Identity {
    key: Ed25519KeyPair,
    pub(crate) public_key: String,
    /// When it started: later than every start before, also when the clock was set back.
    pub(crate) started_at_ms: u64,
}

impl Identity {
    /// Reads the key of this folder, or makes it.
    pub(crate) fn in_folder(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let path = folder.join(KEY);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(&path)?,
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        };
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&bytes).map_err(|error| {
            anyhow!("{} is no ed25519 key ({error}); put the right one there, or remove it", path.display())
        })?;
        let public_key = hex(key.public_key().as_ref());
        Ok(Self { key, public_key, started_at_ms: start(&folder.join(STARTED))? })
    }

    pub(crate) fn sign(&self, text: &str) -> String {
        hex(self.key.sign(text.as_bytes()).as_ref())
    }

    /// The id of a node that was given none.
    pub(crate) fn id(&self) -> anyhow::Result<NodeId> {
        Ok(format!("node-{}", &self.public_key[..ID_CHARACTERS]).parse()?)
    }
}

fn make(path: &Path) -> anyhow::Result<Vec<u8>> {
    let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
    let made = made.map_err(|_| anyhow!("there is no randomness to make a key of"))?;
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| {
        file.write_all(made.as_ref())?;
        file.sync_all()
    })
    .with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(made.as_ref().to_vec())
}

fn start(path: &Path) -> anyhow::Result<u64> {
    let last = fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let now = now_ms().max(last.map_or(0, |last| last + 1));
    fs::write(path, now.to_string()).with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(now)
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::Identity;

    #[test]
    fn a_key_is_made_once_and_each_start_is_later() {
        let folder = tempfile::TempDir::new().unwrap();
        let (first, second) =
            (Identity::in_folder(folder.path()).unwrap(), Identity::in_folder(folder.path()).unwrap());
        assert_eq!(first.public_key, second.public_key);
        assert!(second.started_at_ms > first.started_at_ms);
        let mode = fs::metadata(folder.path().join("node.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(folder.path().join("node.started"), (u64::MAX >> 12).to_string()).unwrap();
        assert!(Identity::in_folder(folder.path()).unwrap().started_at_ms > u64::MAX >> 12);
        fs::write(folder.path().join("node.key"), "no key").unwrap();
        assert!(Identity::in_folder(folder.path()).is_err());
    }
}
