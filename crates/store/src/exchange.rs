//! The hot path of a runner: reports and claims, in one call.

use std::time::Duration;

use hero_domain::{DEFAULT_CALLER, DEFAULT_CONTEXT, JobLimits};
use hero_redis::Cmd;

use crate::{Claim, Claimed, Exchanged, Finish, Lane, Outcome, Result, Session, Store, answer::Answer, keys};

impl Store {
    pub(crate) async fn exchange_jobs(
        &self,
        session: &Session,
        finished: &[Finish],
        claim: Option<&Claim>,
    ) -> Result<Exchanged> {
        let script = &self.scripts().exchange;
        let bytes: usize = finished.iter().map(|finish| 48 + output_bytes(&finish.outcome)).sum();
        let mut call = script.command(&[], 12 + finished.len() * 4, bytes + 256);
        call.arg(session.runner.as_str()).arg(&session.session).arg(finished.len());
        for finish in finished {
            write_finish(&mut call, finish);
        }
        if let Some(claim) = claim {
            write_claim(&mut call, claim);
        }
        let answer = self.run("exchange", script, &call).await?;
        read(Answer::new("exchange", answer)?, claim)
    }
}

fn output_bytes(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Finished { output } => output.len(),
        Outcome::Failed { error, output, .. } => error.len() + output.as_ref().map_or(0, String::len) + 32,
        Outcome::HandedBack => 0,
    }
}

fn write_finish(call: &mut Cmd, finish: &Finish) {
    let mut text = [0; 36];
    call.arg(&*finish.id.as_uuid().hyphenated().encode_lower(&mut text)).arg(finish.attempt);
    match &finish.outcome {
        Outcome::Finished { output } => call.arg("F").arg(output),
        Outcome::Failed { kind, error, output } => {
            call.arg("E").arg(kind.as_key()).arg(error);
            match output {
                Some(output) => call.arg("o").arg(output),
                None => call.arg("").arg(""),
            };
            call.arg(finish.jitter.clamp(0.0, 1.0))
        }
        Outcome::HandedBack => call.arg("H"),
    };
}

fn write_claim(call: &mut Cmd, claim: &Claim) {
    let lists = keys::lists(&claim.lane, claim.low_first);
    call.arg(claim.lane.circle.as_ref().map_or("", |circle| circle.as_str()));
    call.arg(claim.want).arg(lists.len());
    for list in lists {
        call.arg(list);
    }
    call.arg(claim.taken.len());
    for id in &claim.taken {
        call.arg(id.to_string());
    }
}

fn read(mut answer: Answer, claim: Option<&Claim>) -> Result<Exchanged> {
    let drained = answer.number()? == 1;
    let refused = (0..answer.count()?).map(|_| answer.id()).collect::<Result<_>>()?;
    let mut jobs = Vec::with_capacity(answer.remaining() / 9);
    if let Some(claim) = claim {
        while !answer.is_empty() {
            jobs.push(read_claimed(&mut answer, &claim.lane)?);
        }
    }
    Ok(Exchanged { jobs, refused, drained })
}

/// Reads a job leniently: an outside producer may have left out or misspelt all but the script.
fn read_claimed(answer: &mut Answer, lane: &Lane) -> Result<Claimed> {
    Ok(Claimed {
        id: answer.id()?,
        attempt: u32::try_from(answer.number()?).unwrap_or(u32::MAX),
        script: answer.text().unwrap_or_default(),
        script_type: answer.text().and_then(|text| text.parse().ok()).unwrap_or(lane.script_type),
        caller_id: answer.text().unwrap_or_else(|| DEFAULT_CALLER.to_owned()),
        context_id: answer.text().unwrap_or_else(|| DEFAULT_CONTEXT.to_owned()),
        timeout: answer
            .text()
            .and_then(|text| text.parse().ok())
            .map_or(Duration::from_secs(JobLimits::default().default_timeout_s.into()), Duration::from_secs),
        env_vars: answer.text().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
        traceparent: answer.text(),
    })
}
