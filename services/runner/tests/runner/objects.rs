//! The objects of OSIS scripts, on a real store.

use hero_domain::{Job, JobStatus, NewJob, ScriptType::Osis};

use crate::setup::Node;

impl Node {
    async fn run_in(&self, context: &str, script: &str) -> Job {
        let id = self.submit(NewJob { context_id: context.to_owned(), ..NewJob::new(Osis, script) }).await;
        self.ended(id).await
    }

    #[track_caller]
    fn output(job: &Job) -> &str {
        assert_eq!(job.status, JobStatus::Finished, "{}: {:?}", job.script, job.error);
        job.output.as_deref().unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_kept_for_the_jobs_of_a_context_and_for_no_other() {
    let node = Node::start();
    let runner = node.runner(|_| {}).await;
    let script = r#"
        let tasks = hero.collection("tasks");
        let made = tasks.create(#{id: "one", title: "write", done: false, size: 3});
        tasks.create(#{title: "no id of its own"});
        tasks.update("one", #{done: true, size: ()});
        tasks.update("one", |task| { task.title += "!"; task });
        [made.version, tasks.count(), hero.counter("visits").add(2)]"#;
    assert_eq!(Node::output(&node.run_in("lab", script).await), "[1,2,2]");

    let read = r#"let one = hero.collection("tasks").get("one"); if one == () { "none" } else {
        `${one.id} ${one.title} ${one.done} ${"size" in one} ${one.version} ${one.updated_at >= one.created_at}` }"#;
    assert_eq!(Node::output(&node.run_in("lab", read).await), "one write! true false 3 true");
    assert_eq!(Node::output(&node.run_in("other", read).await), "none");
    let count = r#"[hero.collection("tasks").count(), hero.counter("visits").get()]"#;
    assert_eq!(Node::output(&node.run_in("other", count).await), "[0,0]");
    assert_eq!(Node::output(&node.run_in("lab", count).await), "[2,2]");
    let delete = r#"let t = hero.collection("tasks"); [t.delete("one"), t.delete("one"), t.get("one")]"#;
    assert_eq!(Node::output(&node.run_in("lab", delete).await), "[true,false,null]");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_filtered_and_paged_and_fields_are_found_by() {
    let node = Node::start();
    let runner = node.runner(|_| {}).await;
    let fill = r#"let t = hero.collection("t"); t.index("owner");
        for n in 100..400 { t.put(`n${n}`, #{n: n, even: n % 2 == 0, owner: if n < 103 { "ann" } else { "bob" }}); }"#;
    Node::output(&node.run_in("lab", fill).await);
    let ids =
        "|page| page.objects.map(|o| o.id).reduce(|all, id| if all == () { id } else { all + \" \" + id })";
    for (script, expected) in [
        (
            "let p = t.list(#{limit: 3}); [ids.call(p), p.next, ids.call(t.list(#{after: p.next, limit: 1}))]",
            r#"["n100 n101 n102","n102","n103"]"#,
        ),
        ("let p = t.list(#{filter: #{even: true, n: 398}}); [ids.call(p), p.next]", r#"["n398",null]"#),
        ("t.list(#{filter: #{even: true}, limit: 1000}).objects.len()", "150"),
        (
            "let p = t.list(#{filter: #{even: true}, limit: 2, after: \"n197\"}); [ids.call(p), p.next]",
            r#"["n198 n200","n200"]"#,
        ),
        ("t.list(#{filter: #{none: ()}}).objects.len()", "100"),
        ("ids.call(t.find(\"owner\", \"ann\"))", "n100 n101 n102"),
        ("let p = t.find(\"owner\", \"bob\", #{limit: 2}); [ids.call(p), p.next]", r#"["n103 n104","n104"]"#),
        ("t.update(\"n100\", #{owner: \"cid\"}); ids.call(t.find(\"owner\", \"cid\"))", "n100"),
        ("t.find(\"owner\", \"nobody\").objects.len()", "0"),
    ] {
        let script = format!("let t = hero.collection(\"t\"); let ids = {ids}; {script}");
        assert_eq!(Node::output(&node.run_in("lab", &script).await), expected, "{script}");
    }
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_objects_refuse_is_told_with_its_place() {
    let node = Node::start();
    let runner = node.runner(|config| config.osis.objects.max_objects = 3).await;
    for (script, words) in [
        ("hero.collection(\"a:b\")", "`a:b` is no name"),
        ("let t = hero.collection(\"t\"); t.create(#{id: 7})", "the id of an object is a text"),
        (
            "let t = hero.collection(\"t\");\nt.put(\"a\", #{}); t.create(#{id: \"a\"})",
            "line 2, column 20: there is an object `a` already",
        ),
        ("hero.collection(\"t\").update(\"none\", #{})", "there is no object `none`"),
        ("hero.collection(\"t\").find(\"x\", 1)", "there is no index of field `x`"),
        ("hero.collection(\"t\").list(#{limit: 5000})", "from 1 to 1000"),
        (
            "let s = \"\"; s.pad(300000, 'x'); hero.collection(\"t\").put(\"big\", #{s: s})",
            "at most 262144 are taken",
        ),
        (
            "let a = []; for n in 0..200 { a = [a]; } hero.collection(\"t\").put(\"deep\", #{a: a})",
            "recursion limit",
        ),
        ("for n in 0..9 { hero.collection(\"t\").create(#{}) }", "3 objects and counters already"),
        ("hero.counter(\"late\").add()", "3 objects and counters already"),
    ] {
        let job = node.run_in("lab", script).await;
        let error = job.error.unwrap_or_default();
        assert!(error.contains(words), "{script}: {error}");
    }
    let caught = "let said = (); try { hero.collection(\"t\").create(#{id: \"a\"}); } catch (error) { said = error; } `caught: ${said}`";
    assert!(Node::output(&node.run_in("lab", caught).await).starts_with("caught: there is an object `a`"));
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_by_many_jobs_at_once_lose_nothing() {
    let node = Node::start();
    let runner = node.runner(|_| {}).await;
    Node::output(&node.run_in("lab", "hero.collection(\"t\").put(\"one\", #{n: 0})").await);
    let script = "for i in 0..10 { hero.collection(\"t\").update(\"one\", |o| { o.n += 1; o }); hero.counter(\"n\").add(); }";
    let job = || NewJob { context_id: "lab".to_owned(), ..NewJob::new(Osis, script) };
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(node.submit(job()).await);
    }
    for id in ids {
        Node::output(&node.ended(id).await);
    }
    let read = "[hero.collection(\"t\").get(\"one\").n, hero.counter(\"n\").get()]";
    assert_eq!(Node::output(&node.run_in("lab", read).await), "[200,200]");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_and_result_are_kept_with_the_job() {
    let node = Node::start();
    let runner = node.runner(|_| {}).await;
    let script = "hero.progress(0.5, \"half\"); print(\"there\"); while !hero.collection(\"t\").list().objects.len() > 0 { sleep(0.01); }
        hero.result(#{ok: true}); hero.progress(1.0, \"all\"); \"out\"";
    let script = script.replace("!hero", "hero").replace("len() > 0", "len() == 0");
    let id = node.submit(NewJob { context_id: "lab".to_owned(), ..NewJob::new(Osis, script) }).await;
    let job = node.job(id, "it is half way", |job| job.progress.is_some()).await;
    let progress = job.progress.expect("progress");
    assert_eq!((job.status, progress.fraction(), progress.text.as_str()), (JobStatus::Started, 0.5, "half"));
    node.run_in("lab", "hero.collection(\"t\").create(#{})").await;
    let job = node.ended(id).await;
    assert_eq!((Node::output(&job), job.result.as_deref()), ("out", Some("{\"ok\":true}")));
    assert_eq!(job.progress.expect("progress").text, "all");
    runner.stop().await;
}
