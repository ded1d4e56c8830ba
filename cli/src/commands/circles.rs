//! Circles: a key pair of one's own, which circles a node serves, and logging in with a signature.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use k256::ecdsa::SigningKey;
use serde_json::{Value, json};
use sha3::{Digest as _, Keccak256};

use crate::{
    args::{Circle, CircleLogin, NewCircleKey},
    contexts::{self, Context, Contexts, Target},
    failure::{Failure, Result},
    node::Node,
    show::{Show, age, json, note, say, text},
};

/// Makes a key pair. The secret half goes into a file that nobody else can read, and is shown nowhere.
pub(crate) fn new(show: Show, new: &NewCircleKey) -> Result {
    let secret = generate();
    let public = public_key(&secret);
    let path = match &new.out {
        Some(path) => path.clone(),
        None => folder()?.join(format!("{public}.key")),
    };
    write_secret(&path, &hex::encode(secret.to_bytes()))?;
    if show.json {
        json(&json!({"public_key": public, "secret_key_file": path}));
        return Ok(());
    }
    say(&public);
    note(&format!("its secret key is in {}; whoever has that file is the circle's owner", path.display()));
    note(&format!("an admin of a node serves the circle with: hero circle add {public}"));
    Ok(())
}

pub(crate) async fn circle(node: &Node, show: Show, command: &Circle) -> Result {
    match command {
        Circle::Add { public_key, members, max_timeout } => {
            let mut params = json!({"public_key": public_key, "members": members});
            if let Some(seconds) = max_timeout {
                params["limits"] = json!({"max_timeout_s": seconds});
            }
            let circle = node.call("add_circle", params).await?;
            if show.json {
                json(&circle)
            } else {
                note("served from now on")
            }
            Ok(())
        }
        Circle::Rm { public_key } => {
            node.call("remove_circle", json!([public_key])).await?;
            note("served no more; its jobs stay as long as others");
            Ok(())
        }
        Circle::Ls => list(node, show).await,
        Circle::New(_) | Circle::Login(_) => Err(Failure::Usage("this command asks no node".to_owned())),
    }
}

async fn list(node: &Node, show: Show) -> Result {
    let circles = node.call("list_circles", json!([])).await?;
    if show.json {
        json(&circles);
        return Ok(());
    }
    let row = |circle: &Value| {
        let members = circle["members"].as_array().map_or(0, Vec::len);
        let limit = circle["limits"]["max_timeout_s"].as_u64().map(|seconds| format!("{seconds} s"));
        vec![
            text(circle, "public_key").unwrap_or_default().to_owned(),
            members.to_string(),
            limit.unwrap_or_default(),
            if circle["is_configured"] == true {
                "configured".to_owned()
            } else {
                age(text(circle, "created_at"))
            },
        ]
    };
    let rows = circles.as_array().into_iter().flatten().map(row).collect();
    show.table(
        &["CIRCLE", "MEMBERS", "LONGEST JOB", "SINCE"],
        rows,
        "no circles; `hero circle new` makes a key, `hero circle add` serves it",
    );
    Ok(())
}

/// Proves a key to a circle: the node's nonce is signed as wallets sign a text (EIP-191), and what comes back is a
/// token for a while.
pub(crate) async fn login(target: Target, circle: Option<&str>, show: Show, login: &CircleLogin) -> Result {
    let secret = read_secret(&login.secret_key)?;
    let pubkey = public_key(&secret);
    // Where no circle is named, the key is the circle's own.
    let url = match circle {
        Some(_) => target.url.clone(),
        None => format!("{}/{pubkey}", target.url),
    };
    let node = Node::at(Target { url: url.clone(), key: None, daemon: target.daemon })?;
    let nonce = node.call("fetch_nonce", json!([pubkey])).await?;
    let nonce = nonce.as_str().unwrap_or_default();
    let token = node.call("login", json!([pubkey, sign(&secret, nonce)?, nonce])).await?;
    let token = token.as_str().unwrap_or_default();
    if let Some(name) = &login.save_as {
        keep(name, Context { url: Some(url), key: Some(token.to_owned()), circle: None })?;
        note(&format!("kept as context `{name}`, until the token ends: hero --context {name} jobs"));
    } else if show.json {
        json(&json!({"token": token, "url": url}));
    } else {
        say(token);
    }
    Ok(())
}

fn keep(name: &str, context: Context) -> Result {
    let path = contexts::path()?;
    let mut all = Contexts::read(&path)?;
    all.contexts.insert(name.to_owned(), context);
    all.write(&path)
}

/// Nearly every 32 bytes are a key.
fn generate() -> SigningKey {
    loop {
        if let Ok(secret) = SigningKey::from_slice(&rand::random::<[u8; 32]>()) {
            return secret;
        }
    }
}

fn public_key(secret: &SigningKey) -> String {
    hex::encode(secret.verifying_key().to_sec1_point(true).as_bytes())
}

/// r, s and v over the text behind the prefix that makes it no transaction.
fn sign(secret: &SigningKey, text: &str) -> Result<String> {
    let message = format!("\x19Ethereum Signed Message:\n{}{text}", text.len());
    let (signature, recovery) = secret.sign_prehash_recoverable(&Keccak256::digest(message));
    Ok(format!("0x{}{:02x}", hex::encode(signature.to_bytes()), 27 + recovery.to_byte()))
}

fn folder() -> Result<PathBuf> {
    let folder =
        dirs::config_dir().context("this user has no configuration folder; name a file with --out")?;
    Ok(folder.join("hero").join("circles"))
}

fn write_secret(path: &Path, text: &str) -> Result {
    let written = || -> anyhow::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        // An existing key is never written over.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{text}")?;
        Ok(())
    };
    Ok(written().with_context(|| format!("the key cannot be written to {}", path.display()))?)
}

fn read_secret(path: &Path) -> Result<SigningKey> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("the secret key {} cannot be read", path.display()))?;
    let text = text.trim();
    let bytes = hex::decode(text.strip_prefix("0x").unwrap_or(text)).ok();
    bytes.and_then(|bytes| SigningKey::from_slice(&bytes).ok()).ok_or_else(|| {
        Failure::Usage(format!(
            "{} has no secret key: 32 bytes in hex, as `hero circle new` writes them",
            path.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{generate, public_key, read_secret, sign, write_secret};
    use hero_auth::{PublicKey, Signature};

    #[test]
    fn a_key_is_kept_for_its_owner_and_what_it_signs_is_verified() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("circles/own.key");
        let made = generate();
        write_secret(&path, &hex::encode(made.to_bytes())).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write_secret(&path, "other").is_err(), "a key is never written over");
        let read = read_secret(&path).unwrap();
        assert_eq!(public_key(&read), public_key(&made));
        let signature = Signature::parse(&sign(&read, "hero-login 1").unwrap()).unwrap();
        let owner = PublicKey::parse(&public_key(&made)).unwrap();
        assert!(owner.has_signed("hero-login 1", &signature));
        assert!(!owner.has_signed("hero-login 2", &signature));
        std::fs::write(&path, "no key").unwrap();
        assert!(read_secret(&path).unwrap_err().to_string().contains("32 bytes in hex"));
    }
}
