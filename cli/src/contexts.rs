//! The nodes that a person works with: a file of urls and keys, readable by nobody else.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::{
    args::Global,
    failure::{Failure, Result},
};

/// Where a node is that was not named.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// A node under a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Context {
    pub(crate) url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) circle: Option<String>,
}

/// The file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contexts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// Where the file is: HERO_CONFIG, or hero/contexts.toml in the user's configuration folder.
pub(crate) fn path() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("HERO_CONFIG") {
        return Ok(path.into());
    }
    let folder =
        dirs::config_dir().context("this user has no configuration folder; name a file in HERO_CONFIG")?;
    Ok(folder.join("hero").join("contexts.toml"))
}

impl Contexts {
    /// What the file says; without a file: nothing.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => {
                return Err(anyhow::Error::new(error)
                    .context(format!("{} cannot be read", path.display()))
                    .into());
            }
        };
        Ok(toml::from_str(&text).with_context(|| format!("{} is not a file of contexts", path.display()))?)
    }

    /// Writes the file anew: whole or not at all, for this user only.
    pub(crate) fn write(&self, path: &Path) -> Result {
        let folder = path.parent().unwrap_or(Path::new("."));
        let written = || -> anyhow::Result<()> {
            fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.as_file().set_permissions(fs::Permissions::from_mode(0o600))?;
            file.write_all(toml::to_string(self)?.as_bytes())?;
            file.persist(path)?;
            Ok(())
        };
        Ok(written().with_context(|| format!("{} cannot be written", path.display()))?)
    }

    /// The node that the command line, the environment and the file together name, and its circle.
    pub(crate) fn choose(&self, global: &Global) -> Result<(Target, Option<String>)> {
        let name = global.context.as_ref().or(self.current.as_ref());
        let context = match name {
            Some(name) => self.contexts.get(name).cloned().ok_or_else(|| self.unknown(name))?,
            None => Context::default(),
        };
        let url = global.url.clone().or(context.url).unwrap_or_else(|| DEFAULT_URL.to_owned());
        let key = global.key.clone().or(context.key).map(|key| read_key(&key)).transpose()?;
        let circle = global.circle.clone().or(context.circle);
        let daemon = global.mycelium_daemon.clone();
        Ok((Target { url: with_circle(&url, circle.as_deref()), key, daemon }, circle))
    }

    /// The context of this name, to be changed or removed.
    pub(crate) fn unknown(&self, name: &str) -> Failure {
        let known: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "there is none yet".to_owned() } else { known.join(", ") };
        Failure::Usage(format!("there is no context `{name}` (known: {known}); `hero context add` makes one"))
    }
}

/// A node, and what to bring there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) key: Option<String>,
    /// The Mycelium daemon that leads to it, where it is in the overlay.
    pub(crate) daemon: String,
}

fn with_circle(url: &str, circle: Option<&str>) -> String {
    let url = url.trim_end_matches('/');
    circle.map_or_else(|| url.to_owned(), |circle| format!("{url}/{circle}"))
}

fn read_key(key: &str) -> Result<String> {
    let Some(path) = key.strip_prefix("file:") else { return Ok(key.to_owned()) };
    let text = fs::read_to_string(path).with_context(|| format!("the key cannot be read from {path}"))?;
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use clap::Parser as _;

    use super::{Context, Contexts, Target};
    use crate::args::{Arguments, Global};

    fn global(arguments: &[&str]) -> Global {
        let all = ["hero", "whoami"].iter().chain(arguments);
        Arguments::try_parse_from(all).unwrap().global
    }

    fn contexts() -> Contexts {
        let far =
            Context { url: Some("https://far/".into()), key: Some("k".into()), circle: Some("02ab".into()) };
        Contexts { current: Some("far".into()), contexts: [("far".to_owned(), far)].into() }
    }

    #[test]
    fn a_file_is_kept_for_its_owner_only_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hero/contexts.toml");
        assert_eq!(Contexts::read(&path).unwrap(), Contexts::default());
        contexts().write(&path).unwrap();
        assert_eq!(Contexts::read(&path).unwrap(), contexts());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "what").unwrap();
        assert!(Contexts::read(&path).unwrap_err().to_string().contains("not a file of contexts"));
    }

    #[test]
    fn flags_win_over_the_context_which_wins_over_the_default() {
        let at = |url: &str, key: Option<&str>| Target {
            url: url.to_owned(),
            key: key.map(str::to_owned),
            daemon: "http://127.0.0.1:8990".to_owned(),
        };
        assert_eq!(Contexts::default().choose(&global(&[])).unwrap().0, at("http://127.0.0.1:8080", None));
        assert_eq!(contexts().choose(&global(&[])).unwrap().0, at("https://far/02ab", Some("k")));
        let flags = global(&["--url", "http://near", "--key", "s", "--circle", "03"]);
        assert_eq!(contexts().choose(&flags).unwrap().0, at("http://near/03", Some("s")));
        let error = contexts().choose(&global(&["--context", "no"])).unwrap_err().to_string();
        assert!(error.contains("`no`") && error.contains("far"), "{error}");
    }
}
