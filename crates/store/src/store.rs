//! The job store in Redis: the calls that are one command or one script, and the wiring of the others.

use std::{collections::HashMap, sync::Arc};

use hero_domain::{
    CircleKey, DEFAULT_CONTEXT, Explanation, Job, JobFilter, JobId, JobPage, JobStatus, LogPage, LogStream,
    NewJob, Priority, Runner, RunnerId, ScriptType, Timestamp,
};
use hero_redis::{Cmd, Link, RedisConfig, Script, Value, cmd, pipe};

use crate::{
    Claim, Confine, Control, Created, Error, Exchanged, Finish, Fitness, JobStore, Lane, LogAppended,
    Renewed, Result, Said, Session, SignIn, Stopped, Swept, Work,
    answer::{Answer, corrupt, lossy, refusal},
    fitness, keys,
    record::{Record, status},
    scripts::{Clock, Scripts},
};

/// Jobs that one step of a clear removes.
const CLEARED_A_STEP: usize = 100;

/// The job store in Redis. Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    link: Link,
    scripts: Scripts,
    clock: Clock,
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
        Self::with_clock(config, Clock::Redis)
    }

    pub(crate) fn with_clock(config: &RedisConfig, clock: Clock) -> Result<Self> {
        let link = Link::open(config)?;
        Ok(Self(Arc::new(Inner { link, scripts: Scripts::new(clock), clock })))
    }

    pub(crate) fn link(&self) -> &Link {
        &self.0.link
    }

    pub(crate) fn scripts(&self) -> &Scripts {
        &self.0.scripts
    }

    pub(crate) async fn run(&self, name: &'static str, script: &Script, call: &Cmd) -> Result<Value> {
        let answer = self.link().run(script, call).await.map_err(refusal);
        if let Err(Error::Redis { source }) = &answer {
            tracing::error!(script = name, error = source as &dyn std::error::Error, "a store script failed");
        }
        answer
    }

    /// Where Redis is, without the password.
    #[must_use]
    pub fn address(&self) -> &str {
        self.link().address()
    }

    /// Whether this Redis can keep jobs: version, eviction policy, role; with warnings about the rest.
    ///
    /// # Errors
    /// [`Error::Unfit`] with the reason and the way out, [`Error::Unavailable`].
    pub async fn check(&self) -> Result<Fitness> {
        fitness::check(self.link()).await
    }

    /// How many jobs wait, by list: those of the shared pool, and of the circles that a runner serves.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn queue_depths(&self) -> Result<Vec<QueueDepth>> {
        let mut circles: Vec<Option<CircleKey>> =
            self.all_runners().await?.into_iter().flat_map(|runner| runner.circles).map(Some).collect();
        circles.push(None);
        circles.sort_unstable();
        circles.dedup();
        let mut depths = Vec::new();
        let mut lengths = pipe();
        for circle in circles {
            for script_type in ScriptType::ALL {
                for priority in Priority::ALL {
                    lengths.cmd("LLEN").arg(keys::queue(*script_type, circle.as_ref(), *priority));
                    depths.push(QueueDepth {
                        script_type: *script_type,
                        circle: circle.clone(),
                        priority: *priority,
                        waiting: 0,
                    });
                }
            }
        }
        let lengths: Vec<u64> = self.link().call_all(&lengths).await?;
        for (depth, waiting) in depths.iter_mut().zip(lengths) {
            depth.waiting = waiting;
        }
        Ok(depths)
    }

    /// The wait for work of one lane.
    #[must_use]
    pub fn wait_for_work(&self, session: &Session, lane: &Lane) -> Work {
        Work::start(self, session, lane)
    }

    /// What a runner is told.
    #[must_use]
    pub fn control(&self, session: &Session) -> Control {
        Control::start(self.link(), session)
    }

    /// The time that the scripts go by.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn time(&self) -> Result<Timestamp> {
        self.now().await
    }

    pub(crate) async fn now(&self) -> Result<Timestamp> {
        let ms = match self.0.clock {
            Clock::Redis => {
                let (seconds, micros): (i64, i64) = self.link().call(&cmd("TIME")).await?;
                seconds * 1000 + micros / 1000
            }
            #[cfg(feature = "model")]
            Clock::Test => self.link().call(cmd("GET").arg(keys::TEST_CLOCK)).await?,
        };
        Ok(Timestamp::from_millis(ms))
    }

    pub(crate) async fn visible_status(&self, id: JobId, confine: Confine<'_>) -> Result<JobStatus> {
        let mut call = cmd("HMGET");
        call.arg(keys::job(id)).arg("script_type").arg("context_id").arg("status");
        let (known, context, status_text): (Option<String>, Option<String>, Option<String>) =
            self.link().call(&call).await?;
        let context = context.as_deref().unwrap_or(DEFAULT_CONTEXT);
        if known.is_none() || confine.is_some_and(|only| only != context) {
            return Err(Error::JobNotFound(id));
        }
        Ok(status(status_text.as_deref()))
    }

    async fn read(&self, id: JobId, confine: Confine<'_>) -> Result<Job> {
        let fields: HashMap<String, Vec<u8>> = self.link().call(cmd("HGETALL").arg(keys::job(id))).await?;
        let record = Record::new(id, fields)
            .filter(|record| confine.is_none_or(|only| only == record.context()))
            .ok_or(Error::JobNotFound(id))?;
        let dependents = if record.has_dependents() { self.dependents(id).await? } else { Vec::new() };
        record.into_job(dependents)
    }

    /// The first jobs that wait for this one.
    async fn dependents(&self, id: JobId) -> Result<Vec<JobId>> {
        let most = hero_domain::JobLimits::default().max_prerequisites;
        let mut range = cmd("LRANGE");
        range.arg(keys::job_dependents(id)).arg(0).arg(most - 1);
        let ids: Vec<String> = self.link().call(&range).await?;
        Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
    }

    async fn delete_all(&self, ids: &[String], confine: Confine<'_>) -> Result<u64> {
        let script = &self.scripts().delete;
        let mut call = script.command(&[], 1 + ids.len(), 64 + ids.len() * 37);
        call.arg(confine.unwrap_or_default());
        for id in ids {
            call.arg(id);
        }
        match self.run("delete", script, &call).await? {
            Value::Int(count) => Ok(count.unsigned_abs()),
            _ => Ok(0),
        }
    }

    async fn clear_all(&self, confine: Confine<'_>) -> Result<u64> {
        let index = confine.map_or_else(|| keys::INDEX.to_owned(), keys::context_index);
        let mut newest = cmd("XREVRANGE");
        newest.arg(&index).arg("+").arg("-").arg("COUNT").arg(1);
        let newest: Vec<(String, Vec<String>)> = self.link().call(&newest).await?;
        // Jobs that come in meanwhile are not meant.
        let Some((end, _)) = newest.into_iter().next() else { return Ok(0) };
        let (mut begin, mut count) = ("-".to_owned(), 0);
        loop {
            let mut call = cmd("XRANGE");
            call.arg(&index).arg(&begin).arg(&end).arg("COUNT").arg(CLEARED_A_STEP);
            let entries: Vec<(String, Vec<String>)> = self.link().call(&call).await?;
            let Some((last, _)) = entries.last() else { return Ok(count) };
            begin = format!("({last}");
            let ids: Vec<String> =
                entries.into_iter().filter_map(|(_, fields)| fields.into_iter().nth(1)).collect();
            count += self.delete_all(&ids, confine).await?;
        }
    }
}

impl JobStore for Store {
    async fn create(&self, jobs: &[NewJob], start: bool) -> Result<Vec<Created>> {
        self.create_jobs(jobs, start).await
    }

    async fn start(&self, id: JobId, confine: Confine<'_>) -> Result<JobStatus> {
        let script = &self.scripts().start;
        let mut call = script.command(&[], 2, 128);
        call.arg(id.to_string()).arg(confine.unwrap_or_default());
        match self.run("start", script, &call).await? {
            Value::BulkString(text) => Ok(status(std::str::from_utf8(&text).ok())),
            _ => Ok(JobStatus::Dispatched),
        }
    }

    async fn stop(&self, id: JobId, confine: Confine<'_>) -> Result<Stopped> {
        let script = &self.scripts().stop;
        let mut call = script.command(&[], 2, 128);
        call.arg(id.to_string()).arg(confine.unwrap_or_default());
        let runner = match self.run("stop", script, &call).await? {
            Value::Int(0) => return Ok(Stopped::Ended),
            Value::Int(_) => return Ok(Stopped::AlreadyEnded),
            Value::BulkString(text) => lossy(text),
            _ => String::new(),
        };
        let damaged = |error| corrupt(&keys::job(id), &format!("its runner: {error}"));
        runner.parse().map(Stopped::Asked).map_err(damaged)
    }

    async fn retry(&self, id: JobId, confine: Confine<'_>) -> Result<JobStatus> {
        let script = &self.scripts().retry;
        let mut call = script.command(&[], 2, 128);
        call.arg(id.to_string()).arg(confine.unwrap_or_default());
        match self.run("retry", script, &call).await? {
            Value::BulkString(text) => Ok(status(std::str::from_utf8(&text).ok())),
            _ => Ok(JobStatus::Dispatched),
        }
    }

    async fn explain(&self, id: JobId, confine: Confine<'_>) -> Result<Explanation> {
        self.explain_job(id, confine).await
    }

    async fn delete(&self, id: JobId, confine: Confine<'_>) -> Result<()> {
        match self.delete_all(&[id.to_string()], confine).await? {
            0 => Err(Error::JobNotFound(id)),
            _ => Ok(()),
        }
    }

    async fn clear(&self, confine: Confine<'_>) -> Result<u64> {
        self.clear_all(confine).await
    }

    async fn get(&self, id: JobId, confine: Confine<'_>) -> Result<Job> {
        self.read(id, confine).await
    }

    async fn status(&self, id: JobId, confine: Confine<'_>) -> Result<JobStatus> {
        self.visible_status(id, confine).await
    }

    async fn list(&self, filter: &JobFilter) -> Result<JobPage> {
        self.list_jobs(filter).await
    }

    async fn append_log(
        &self,
        id: JobId,
        attempt: u32,
        lines: &[(LogStream, String)],
        max_bytes: usize,
    ) -> Result<LogAppended> {
        self.append_lines(id, attempt, lines, max_bytes).await
    }

    async fn say(&self, id: JobId, attempt: u32, said: &Said) -> Result<bool> {
        let script = &self.scripts().say;
        let bytes = said.result.as_ref().map_or(0, String::len) + 512;
        let mut call = script.command(&[], 6, bytes);
        call.arg(id.to_string()).arg(attempt);
        match &said.progress {
            Some(progress) => call.arg(progress.per_mille).arg(&progress.text),
            None => call.arg("").arg(""),
        };
        match &said.result {
            Some(result) => call.arg("r").arg(result),
            None => call.arg("").arg(""),
        };
        Ok(self.run("say", script, &call).await? == Value::Int(1))
    }

    async fn read_log(
        &self,
        id: JobId,
        confine: Confine<'_>,
        from: Option<&str>,
        max_bytes: usize,
    ) -> Result<LogPage> {
        self.read_lines(id, confine, from, max_bytes).await
    }

    async fn sign_in(&self, runner: &SignIn) -> Result<Session> {
        self.sign_runner_in(runner).await
    }

    async fn exchange(
        &self,
        session: &Session,
        finished: &[Finish],
        claim: Option<&Claim>,
    ) -> Result<Exchanged> {
        self.exchange_jobs(session, finished, claim).await
    }

    async fn renew(&self, session: &Session, busy: u32, known: &[JobId]) -> Result<Renewed> {
        self.renew_lease(session, busy, known).await
    }

    async fn sign_out(&self, session: &Session) -> Result<()> {
        self.sign_runner_out(session).await
    }

    async fn drain(&self, runner: &RunnerId, draining: bool) -> Result<()> {
        self.drain_runner(runner, draining).await
    }

    async fn remove(&self, runner: &RunnerId) -> Result<()> {
        self.remove_runner(runner).await
    }

    async fn runners(&self) -> Result<Vec<Runner>> {
        self.all_runners().await
    }

    async fn limit_running(&self, context: Option<&str>, most: Option<u32>) -> Result<()> {
        self.set_limit(context, most).await
    }

    async fn sweep(&self) -> Result<Swept> {
        let script = &self.scripts().sweep;
        let call = script.command(&[], 0, 0);
        let mut answer = Answer::new("sweep", self.run("sweep", script, &call).await?)?;
        let mut count = || answer.number().map(i64::unsigned_abs);
        let (promoted, requeued, ended, released, forgotten) =
            (count()?, count()?, count()?, count()?, count()?);
        let more = count()? == 1;
        let next_due = answer.text().and_then(|text| text.parse().ok()).map(Timestamp::from_millis);
        Ok(Swept { promoted, requeued, ended, released, forgotten, more, next_due })
    }
}
