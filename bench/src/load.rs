//! What is sent: JSON-RPC requests, written out by hand so that the client's own cost stays small.

use std::fmt::Write;

/// The source of a no-op job: one addition, so that there is a result to see.
pub(crate) const SCRIPT: &str = "40 + 2";

/// Which call a load consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// `run_job`.
    Run,
    /// `submit_job`.
    Submit,
    /// `submit_jobs` with this many jobs.
    SubmitMany(usize),
    /// A JSON-RPC batch of this many `submit_job`.
    SubmitBatch(usize),
    /// The echo server's `echo`.
    Echo,
}

/// A number of equal requests with ids from 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// The call.
    pub(crate) call: Call,
    /// The type that each job names.
    pub(crate) script_type: &'static str,
    /// The source of each job.
    pub(crate) script: &'static str,
    /// How many requests.
    pub(crate) requests: usize,
    /// How many are unanswered at a time.
    pub(crate) in_flight: usize,
}

impl Load {
    /// A load of OSIS jobs.
    pub(crate) fn osis(call: Call, requests: usize, in_flight: usize) -> Self {
        Self { call, script_type: "OSIS", script: SCRIPT, requests, in_flight }
    }

    /// Enough requests of `call` for `jobs` jobs.
    pub(crate) fn jobs(call: Call, script_type: &'static str, jobs: usize, in_flight: usize) -> Self {
        let requests = jobs.div_ceil(call.jobs());
        Self { call, script_type, script: SCRIPT, requests, in_flight }
    }

    /// How many jobs all requests together bring.
    pub(crate) fn total_jobs(&self) -> usize {
        self.requests * self.call.jobs()
    }

    /// The request number `index`; a batch's first member carries the number as its id.
    pub(crate) fn text(&self, index: usize) -> String {
        let kind = self.script_type;
        let script = serde_json::Value::from(self.script);
        match self.call {
            Call::Run => format!(
                r#"{{"jsonrpc":"2.0","id":{index},"method":"run_job","params":{{"script":{script},"script_type":"{kind}"}}}}"#
            ),
            Call::Submit => submit_job(index as u64, &script, kind),
            Call::SubmitMany(jobs) => {
                let mut text =
                    format!(r#"{{"jsonrpc":"2.0","id":{index},"method":"submit_jobs","params":{{"jobs":["#);
                for job in 0..jobs {
                    let comma = if job == 0 { "" } else { "," };
                    write!(text, r#"{comma}{{"script":{script},"script_type":"{kind}"}}"#)
                        .expect("a String takes everything");
                }
                text.push_str("]}}");
                text
            }
            Call::SubmitBatch(jobs) => {
                let members: Vec<_> = (0..jobs)
                    .map(|job| submit_job(index as u64 + job as u64 * 1_000_000_000, &script, kind))
                    .collect();
                format!("[{}]", members.join(","))
            }
            Call::Echo => {
                format!(r#"{{"jsonrpc":"2.0","id":{index},"method":"echo","params":["{SCRIPT}"]}}"#)
            }
        }
    }
}

impl Call {
    /// How many jobs one request brings.
    pub(crate) fn jobs(self) -> usize {
        match self {
            Self::Run | Self::Submit | Self::Echo => 1,
            Self::SubmitMany(jobs) | Self::SubmitBatch(jobs) => jobs,
        }
    }
}

fn submit_job(id: u64, script: &serde_json::Value, kind: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"submit_job","params":{{"job":{{"script":{script},"script_type":"{kind}"}}}}}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::{Call, Load};

    #[test]
    fn every_request_is_json_with_its_id_first() {
        for call in [Call::Run, Call::Submit, Call::SubmitMany(3), Call::Echo] {
            let text = Load::osis(call, 1, 1).text(7);
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["id"], 7, "{text}");
        }
        let batch: serde_json::Value =
            serde_json::from_str(&Load::osis(Call::SubmitBatch(3), 1, 1).text(7)).unwrap();
        assert_eq!(batch.as_array().unwrap().len(), 3);
        assert_eq!(batch[0]["id"], 7);
    }

    #[test]
    fn a_load_of_jobs_is_rounded_up_to_whole_requests() {
        assert_eq!(Load::jobs(Call::SubmitMany(1000), "OSIS", 2_500, 1).total_jobs(), 3_000);
    }
}
