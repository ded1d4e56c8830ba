//! What each command does.

pub(crate) mod contexts;
pub(crate) mod doctor;
pub(crate) mod follow;
pub(crate) mod jobs;
pub(crate) mod node;
pub(crate) mod schedules;
pub(crate) mod script;
