//! The port of jobs over the store: the truth that every other implementation of it asks.

mod feeds;
mod waiting;

use std::{slice, sync::Arc, time::Duration};

use hero_domain::{
    ApiError, Caller, Circle, DEFAULT_CONTEXT, Explanation, Feed, Job, JobChange, JobFilter, JobId,
    JobLimits, JobPage, JobStatus, LogNews, LogPage, NewJob, Reason, Result, Scope, Stats, Watched,
    ports::Jobs,
};
use hero_proto::MAX_LOG_PAGE_BYTES;
use hero_store::{Created, Error, JobStore as _, Store, Waits};
use hero_telemetry::{Attributes, metrics, names, trace_context};
use tokio_util::sync::CancellationToken;

use self::feeds::Feeds;
use crate::{
    census::Census,
    circles::Directory,
    config::{SubmitConfig, WaitConfig},
    flow::Flow,
    readiness::Gate,
    submissions::Submissions,
    waiters::Waiters,
};

/// What every call for jobs passes first.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) gate: Gate,
    pub(crate) circles: Directory,
}

impl Access {
    async fn enter(&self, caller: &Caller) -> Result<Option<Arc<Circle>>> {
        caller.require(Scope::User)?;
        self.gate.check()?;
        self.circles.check(caller).await
    }
}

/// What ends what waits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    /// Ends every feed, when the process is told to stop.
    pub(crate) feeds: CancellationToken,
    /// Ends every wait, when the process is about to stop.
    pub(crate) waits: CancellationToken,
}

/// The jobs of this node.
pub(crate) struct StoredJobs {
    store: Store,
    access: Access,
    census: Census,
    feeds: Feeds,
    limits: Arc<JobLimits>,
    submissions: Submissions<Store>,
    waits: Waits,
    waiters: Waiters,
    wait: WaitConfig,
    flow: Flow,
    /// Ends every wait, when the process is about to stop.
    closing: CancellationToken,
}

impl StoredJobs {
    /// Needs a tokio runtime.
    pub(crate) fn new(
        store: Store,
        waits: Waits,
        access: Access,
        limits: Arc<JobLimits>,
        (submit, wait): (SubmitConfig, WaitConfig),
        ends: Ends,
    ) -> Self {
        let waiters = Waiters::new(wait.max_waiters);
        Self {
            submissions: Submissions::new(store.clone(), submit),
            census: Census::new(store.clone()),
            feeds: Feeds::new(store.clone(), waits.clone(), waiters.clone(), access.clone(), ends.feeds),
            waiters,
            limits,
            store,
            access,
            waits,
            wait,
            flow: Flow::default(),
            closing: ends.waits,
        }
    }

    /// The same with what is known of the last minutes.
    pub(crate) fn with_flow(self, flow: Flow) -> Self {
        Self { flow, ..self }
    }

    /// Every call passes here first.
    async fn enter(&self, caller: &Caller) -> Result<Option<Arc<Circle>>> {
        self.access.enter(caller).await
    }

    /// Calls that bring new jobs do so too.
    async fn enter_with_jobs(&self, caller: &Caller) -> Result<Option<Arc<Circle>>> {
        let circle = self.enter(caller).await?;
        self.access.gate.check_room()?;
        Ok(circle)
    }

    fn admit(&self, circle: Option<&Circle>, caller: &Caller, job: &mut NewJob) -> Result<()> {
        admit(&self.limits, circle, caller, job)
    }

    /// A filter with its page checked, and confined to what the caller may see; none: that is nothing.
    fn confined(&self, caller: &Caller, mut filter: JobFilter) -> Result<Option<JobFilter>> {
        let limit = filter.limit.unwrap_or(self.limits.default_list_page);
        check_page(limit, self.limits.max_list_page)?;
        filter.limit = Some(limit);
        if let Some(circle) = confine(caller) {
            if filter.context_id.as_deref().is_some_and(|context| context != circle) {
                return Ok(None);
            }
            filter.context_id = Some(circle.to_owned());
        }
        Ok(Some(filter))
    }

    /// Creates and starts one job.
    async fn submit_one(&self, job: NewJob) -> Result<Created> {
        let script_type = job.script_type;
        let created = self.submissions.submit(vec![job]).await?.map_err(of_one)?;
        let created =
            created.into_iter().next().ok_or_else(|| ApiError::internal("the store created nothing"))?;
        if created.is_new {
            count_sent(script_type.as_key(), 1);
        }
        Ok(created)
    }
}

impl Jobs for StoredJobs {
    async fn create(&self, caller: &Caller, mut job: NewJob) -> Result<JobId> {
        let circle = self.enter_with_jobs(caller).await?;
        self.admit(circle.as_deref(), caller, &mut job)?;
        let created = self.store.create(slice::from_ref(&job), false).await.map_err(of_one)?;
        created
            .first()
            .map(|created| created.id)
            .ok_or_else(|| ApiError::internal("the store created nothing"))
    }

    async fn start(&self, caller: &Caller, id: JobId) -> Result<()> {
        self.enter(caller).await?;
        self.store.start(id, confine(caller)).await?;
        Ok(())
    }

    async fn submit(&self, caller: &Caller, mut jobs: Vec<NewJob>) -> Result<Vec<JobId>> {
        let circle = self.enter_with_jobs(caller).await?;
        check_batch(jobs.len(), self.limits.max_submit_jobs)?;
        for (index, job) in jobs.iter_mut().enumerate() {
            self.admit(circle.as_deref(), caller, job).map_err(|error| {
                let field = error.field().unwrap_or_default();
                let field = format!("jobs[{index}].{field}");
                error.with_field(field)
            })?;
        }
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let types: Vec<_> = jobs.iter().map(|job| job.script_type).collect();
        let created = self.submissions.submit(jobs).await??;
        for script_type in hero_domain::ScriptType::ALL {
            let is_sent = |(own, created): &(_, &Created)| *own == script_type && created.is_new;
            count_sent(script_type.as_key(), types.iter().zip(&created).filter(is_sent).count() as u64);
        }
        Ok(created.into_iter().map(|created| created.id).collect())
    }

    async fn run(&self, caller: &Caller, mut job: NewJob, wait: Option<Duration>) -> Result<Job> {
        let circle = self.enter_with_jobs(caller).await?;
        self.admit(circle.as_deref(), caller, &mut job)?;
        self.run_admitted(caller, job, wait).await
    }

    async fn wait(&self, caller: &Caller, id: JobId, wait: Option<Duration>) -> Result<Job> {
        self.enter(caller).await?;
        self.wait_for(caller, id, wait).await
    }

    async fn get(&self, caller: &Caller, id: JobId) -> Result<Job> {
        self.enter(caller).await?;
        let mut job = self.store.get(id, confine(caller)).await?;
        self.census.note(&mut job).await;
        Ok(job)
    }

    async fn status(&self, caller: &Caller, id: JobId) -> Result<JobStatus> {
        self.enter(caller).await?;
        Ok(self.store.status(id, confine(caller)).await?)
    }

    async fn logs(
        &self,
        caller: &Caller,
        id: JobId,
        from: Option<String>,
        max_bytes: usize,
    ) -> Result<LogPage> {
        self.enter(caller).await?;
        let max_bytes = max_bytes.min(MAX_LOG_PAGE_BYTES);
        Ok(self.store.read_log(id, confine(caller), from.as_deref(), max_bytes).await?)
    }

    async fn watch(
        &self,
        caller: &Caller,
        watched: Watched,
        from: Option<String>,
    ) -> Result<Feed<JobChange>> {
        self.enter(caller).await?;
        let watched = match watched {
            Watched::Job(id) => Some(Watched::Job(id)),
            Watched::Jobs(filter) => {
                let unpaged = JobFilter { limit: None, cursor: None, ..filter };
                self.confined(caller, unpaged)?.map(Watched::Jobs)
            }
        };
        self.feeds.watch(caller, watched, from).await
    }

    async fn follow_logs(&self, caller: &Caller, id: JobId, from: Option<String>) -> Result<Feed<LogNews>> {
        self.enter(caller).await?;
        self.feeds.follow(caller, id, from).await
    }

    async fn list(&self, caller: &Caller, filter: JobFilter) -> Result<JobPage> {
        self.enter(caller).await?;
        match self.confined(caller, filter)? {
            Some(filter) => Ok(self.store.list(&filter).await?),
            None => Ok(JobPage::default()),
        }
    }

    async fn stop(&self, caller: &Caller, id: JobId) -> Result<()> {
        self.enter(caller).await?;
        self.store.stop(id, confine(caller)).await?;
        Ok(())
    }

    async fn retry(&self, caller: &Caller, id: JobId) -> Result<JobStatus> {
        self.enter(caller).await?;
        Ok(self.store.retry(id, confine(caller)).await?)
    }

    async fn retry_many(&self, caller: &Caller, filter: JobFilter) -> Result<Vec<JobId>> {
        self.enter(caller).await?;
        if filter.status.is_some_and(|status| status != JobStatus::Error) {
            return Ok(Vec::new());
        }
        let failed = JobFilter { status: Some(JobStatus::Error), cursor: None, ..filter };
        let Some(filter) = self.confined(caller, failed)? else { return Ok(Vec::new()) };
        let mut ids = self.store.list(&filter).await?.ids;
        // A job is older than those that wait for it, and they are better started after it.
        ids.reverse();
        let mut started = Vec::with_capacity(ids.len());
        for id in ids {
            match self.store.retry(id, confine(caller)).await {
                Ok(_) => started.push(id),
                // Somebody else was quicker.
                Err(Error::JobNotFailed(_) | Error::JobNotFound(_)) => {}
                // Those that were started are so; the caller learns which, and comes again for the rest.
                Err(_) if !started.is_empty() => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(started)
    }

    async fn explain(&self, caller: &Caller, id: JobId) -> Result<Explanation> {
        self.enter(caller).await?;
        Ok(self.store.explain(id, confine(caller)).await?)
    }

    async fn stats(&self, caller: &Caller) -> Result<Stats> {
        self.enter(caller).await?;
        if let Some(circle) = &caller.circle {
            return Ok(self.store.stats(Some(circle), &[]).await?);
        }
        let stats = self.store.stats(None, &self.access.circles.all().await?).await?;
        Ok(Stats { flow: self.flow.samples(), ..stats })
    }

    async fn delete(&self, caller: &Caller, id: JobId) -> Result<()> {
        self.enter(caller).await?;
        Ok(self.store.delete(id, confine(caller)).await?)
    }

    async fn clear(&self, caller: &Caller) -> Result<u64> {
        self.enter(caller).await?;
        Ok(self.store.clear(confine(caller)).await?)
    }
}

/// Fills in what the caller left open, and checks every bound. In a circle the job is the circle's,
/// whatever was written.
pub(crate) fn admit(
    limits: &JobLimits,
    circle: Option<&Circle>,
    caller: &Caller,
    job: &mut NewJob,
) -> Result<()> {
    if job.caller_id.is_empty() {
        job.caller_id.clone_from(&caller.name);
    }
    job.circle.clone_from(&caller.circle);
    if let Some(circle) = &caller.circle {
        circle.as_str().clone_into(&mut job.context_id);
    } else if job.context_id.is_empty() {
        DEFAULT_CONTEXT.clone_into(&mut job.context_id);
    }
    if job.traceparent.is_none() {
        job.traceparent = trace_context::current_traceparent();
    }
    if let Some(most) = circle.and_then(|circle| circle.limits.max_timeout_s)
        && job.timeout_s > most
    {
        // Who names none gets what there is.
        if job.timeout_s == limits.default_timeout_s {
            job.timeout_s = most;
            return job.validate(limits);
        }
        let words = format!("{} s; a job of this circle may run for at most {most} s", job.timeout_s);
        return Err(ApiError::new(Reason::InvalidParams, words).with_field("timeout"));
    }
    job.validate(limits)
}

/// The context that a caller's calls are confined to.
pub(crate) fn confine(caller: &Caller) -> Option<&str> {
    caller.circle.as_ref().map(|circle| circle.as_str())
}

/// The store names the job of a batch; a call for one job has none to name.
fn of_one(error: Error) -> ApiError {
    let error = ApiError::from(error);
    match error.field().and_then(|field| field.strip_prefix("jobs[0].")).map(str::to_owned) {
        Some(field) => error.with_field(field),
        None => error,
    }
}

fn check_batch(count: usize, most: usize) -> Result<()> {
    if count <= most {
        return Ok(());
    }
    Err(ApiError::new(
        Reason::BatchTooLarge,
        format!("{count} jobs; at most {most} are taken, so send them in parts"),
    )
    .with_field("jobs"))
}

fn check_page(limit: usize, most: usize) -> Result<()> {
    if (1..=most).contains(&limit) {
        return Ok(());
    }
    Err(ApiError::new(
        Reason::InvalidParams,
        format!("{limit} is out of range; 1 to {most} are taken, and the cursor leads to the rest"),
    )
    .with_field("limit"))
}

fn count_sent(script_type: &'static str, amount: u64) {
    if amount > 0 {
        metrics().messages_sent.add(amount, &Attributes::new(&[(names::SCRIPT_TYPE, script_type)]));
    }
}
