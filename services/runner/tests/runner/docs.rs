//! The examples of docs/scripts work.

use std::path::Path;

use hero_domain::{JobStatus, NewJob, ScriptType};

use crate::{sal::with_sal, setup::Node};

/// Scripts and what comes out of each, from the fenced blocks of a page.
fn examples(page: &str, language: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/scripts").join(page);
    let text = std::fs::read_to_string(&path).expect("a page");
    let fence = format!("\n```{language}\n");
    let blocks = text.split(fence.as_str()).skip(1);
    let blocks = blocks.map(|rest| rest.split("\n```").next().unwrap_or_default());
    let examples: Vec<_> = blocks
        .map(|block| {
            let (script, output) = block.split_once("\n//=> ").expect("an example says what comes out");
            (script.to_owned(), output.to_owned())
        })
        .collect();
    assert!(!examples.is_empty(), "{page} has examples");
    examples
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_of_the_docs_work() {
    let node = Node::start();
    let runner = node.runner(with_sal).await;
    for (script_type, page, language) in [
        (ScriptType::Osis, "osis.md", "rhai"),
        (ScriptType::Sal, "sal.md", "rhai"),
        (ScriptType::V, "v.md", "v"),
    ] {
        let offered = node.offered().await;
        // No compiler for V can be shipped with this repository.
        if script_type == ScriptType::V && !offered.contains(&script_type) {
            continue;
        }
        for (script, output) in examples(page, language) {
            let job = NewJob { context_id: "docs".to_owned(), ..NewJob::new(script_type, script.as_str()) };
            let id = node.submit(job).await;
            let job = node.ended(id).await;
            assert_eq!(job.status, JobStatus::Finished, "{page}: {script}\n{:?}", job.error);
            assert_eq!(job.output.as_deref().map(str::trim_end), Some(output.as_str()), "{page}: {script}");
        }
    }
    runner.stop().await;
}
