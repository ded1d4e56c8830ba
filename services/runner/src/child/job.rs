//! The job as a child reads it: source text and arguments are handed over as they are, never pasted into a
//! command line or a program.

use std::{collections::BTreeMap, io, io::Write, os::fd::OwnedFd};

use hero_domain::JobId;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use serde::Serialize;

use crate::attempt::Run;

/// What stands in the file behind descriptor 4.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    /// The job's id.
    pub(crate) job_id: JobId,
    /// Which attempt this is, from 1.
    pub(crate) attempt: u32,
    /// Who asked.
    pub(crate) caller_id: &'a str,
    /// Where it belongs.
    pub(crate) context_id: &'a str,
    /// The source text.
    pub(crate) script: &'a str,
    /// The job's `env_vars`; scripts know them as `hero.args`.
    pub(crate) args: &'a BTreeMap<String, String>,
}

impl<'a> Document<'a> {
    /// That of a job.
    pub(crate) fn of(run: &'a Run) -> Self {
        Self {
            job_id: run.job.id,
            attempt: run.job.attempt,
            caller_id: &run.job.caller_id,
            context_id: &run.job.context_id,
            script: &run.job.script,
            args: &run.job.env_vars,
        }
    }

    /// As an anonymous file that can only be read, however large: a pipe would take 64 KiB and then block.
    pub(crate) fn into_file(self) -> io::Result<OwnedFd> {
        let mut file =
            std::fs::File::from(memfd_create("job", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        file.write_all(&serde_json::to_vec(&self)?)?;
        io::Seek::rewind(&mut file)?;
        fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(file.into())
    }
}
