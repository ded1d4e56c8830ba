//! The job store in Redis.

use hero_domain::{CircleKey, Job, JobFilter, JobId, JobPage, JobStatus, LogPage, LogStream, NewJob, Priority, Runner, RunnerId, ScriptType};
use hero_redis::{Link, RedisConfig};

use crate::{
    Claim, Confine, Control, Created, Error, Exchanged, Finish, Fitness, JobStore, Lane, LogAppended, Renewed,
    Result, Session, SignIn, Stopped, Swept, Work,
};

/// The job store in Redis. Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub struct Store {
    link: Link,
}

/// How many jobs wait in one list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueDepth {
    /// Of which type.
    pub script_type: ScriptType,
    /// Of which circle; none: the shared pool.
    pub circle: Option<CircleKey>,
    /// Of which priority.
    pub priority: Priority,
    /// How many.
    pub waiting: u64,
}

impl Store {
    /// Prepares the connection; a Redis that is away is no error yet. Needs a tokio runtime.
    ///
    /// # Errors
    /// An address that cannot be used.
    pub fn connect(config: &RedisConfig) -> Result<Self> {
        Ok(Self { link: Link::open(config)? })
    }

    /// Where Redis is, without the password.
    #[must_use]
    pub fn address(&self) -> &str {
        self.link.address()
    }

    /// Whether this Redis can keep jobs: version, eviction policy, role; with warnings about the rest.
    ///
    /// # Errors
    /// [`Error::Unfit`] with the reason and the way out, [`Error::Unavailable`].
    pub async fn check(&self) -> Result<Fitness> {
        Err(Error::Full)
    }

    /// How many jobs wait, by list.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn queue_depths(&self) -> Result<Vec<QueueDepth>> {
        Err(Error::Full)
    }

    /// The wait for work of one lane.
    #[must_use]
    pub fn wait_for_work(&self, _session: &Session, _lane: &Lane) -> Work {
        Work {}
    }

    /// What a runner is told.
    #[must_use]
    pub fn control(&self, _session: &Session) -> Control {
        Control {}
    }
}

#[allow(unused_variables)]
impl JobStore for Store {
    async fn create(&self, jobs: &[NewJob], start: bool) -> Result<Vec<Created>> {
        Err(Error::Full)
    }
    async fn start(&self, id: JobId, confine: Confine<'_>) -> Result<JobStatus> {
        Err(Error::Full)
    }
    async fn stop(&self, id: JobId, confine: Confine<'_>) -> Result<Stopped> {
        Err(Error::Full)
    }
    async fn delete(&self, id: JobId, confine: Confine<'_>) -> Result<()> {
        Err(Error::Full)
    }
    async fn clear(&self, confine: Confine<'_>) -> Result<u64> {
        Err(Error::Full)
    }
    async fn get(&self, id: JobId, confine: Confine<'_>) -> Result<Job> {
        Err(Error::Full)
    }
    async fn status(&self, id: JobId, confine: Confine<'_>) -> Result<JobStatus> {
        Err(Error::Full)
    }
    async fn list(&self, filter: &JobFilter) -> Result<JobPage> {
        Err(Error::Full)
    }
    async fn append_log(&self, id: JobId, attempt: u32, lines: &[(LogStream, String)], max_bytes: usize) -> Result<LogAppended> {
        Err(Error::Full)
    }
    async fn read_log(&self, id: JobId, confine: Confine<'_>, from: Option<&str>, max_bytes: usize) -> Result<LogPage> {
        Err(Error::Full)
    }
    async fn sign_in(&self, runner: &SignIn) -> Result<Session> {
        Err(Error::Full)
    }
    async fn exchange(&self, session: &Session, finished: &[Finish], claim: Option<&Claim>) -> Result<Exchanged> {
        Err(Error::Full)
    }
    async fn renew(&self, session: &Session, busy: u32, known: &[JobId]) -> Result<Renewed> {
        Err(Error::Full)
    }
    async fn sign_out(&self, session: &Session) -> Result<()> {
        Err(Error::Full)
    }
    async fn drain(&self, runner: &RunnerId, draining: bool) -> Result<()> {
        Err(Error::Full)
    }
    async fn runners(&self) -> Result<Vec<Runner>> {
        Err(Error::Full)
    }
    async fn sweep(&self) -> Result<Swept> {
        Err(Error::Full)
    }
}
