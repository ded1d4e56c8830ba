//! What the job store promises, name by name, on the model and on Redis alike; random histories that compare
//! the two; and many claimers on one Redis.

mod fixture;
mod histories;
#[macro_use]
mod promises;
mod redis_store;
mod world;

mod backlogs;
mod claiming;
mod concurrency;
mod confining;
mod creating;
mod finishing;
mod hands;
mod limiting;
mod listing;
mod logging;
mod outages;
mod outside;
mod prerequisites;
mod running;
mod scheduling;
mod stopping;
mod waiting;
