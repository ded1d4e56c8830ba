//! What each command does.

pub(crate) mod bench;
pub(crate) mod circles;
pub(crate) mod contexts;
pub(crate) mod doctor;
pub(crate) mod fleet;
pub(crate) mod follow;
pub(crate) mod jobs;
pub(crate) mod keys;
pub(crate) mod node;
pub(crate) mod schedules;
pub(crate) mod script;
pub(crate) mod top;

use std::io::IsTerminal as _;

use anyhow::Context as _;

use crate::failure::{Failure, Result};

/// Asks on a terminal; elsewhere the answer has to come as `--yes`.
pub(crate) fn agreed(question: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage("nobody is there to be asked; say --yes".to_owned()));
    }
    let asked = dialoguer::Confirm::new().with_prompt(question).default(false).interact();
    Ok(asked.context("the answer cannot be read")?)
}
