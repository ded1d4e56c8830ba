//! The command line that every service has.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::{Service, VERSION};

/// What was asked for on the command line.
#[derive(Debug, Parser)]
pub(crate) struct Cli<F: Args> {
    /// The configuration file (TOML)
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Print the settings as they are in effect, secrets redacted, and end
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Check the settings and end: 0 if they can be used, 64 if not
    #[arg(long)]
    pub(crate) check_config: bool,
    #[command(flatten)]
    pub(crate) service: F,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Command {
    /// Ask the running service whether it is ready: 0 if it is, 1 if not
    Healthcheck,
}

/// Reads the arguments, the first of which is the program's name.
pub(crate) fn parse<S: Service>(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Cli<S::Flags>, clap::Error> {
    let mut command = Cli::<S::Flags>::command().name(S::NAME).about(S::ABOUT).version(VERSION);
    let matches = command.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}
