//! The whole runner against a private, real Redis.

mod drain;
mod jobs;
mod objects;
mod outages;
mod setup;
