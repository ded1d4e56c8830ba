//! Programs that know nothing of us but the lists and the hash.

use redis::Commands as _;
use serde_json::json;

use crate::cluster::{Cluster, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_that_only_pops_an_id_and_writes_the_hash_serves_jobs() {
    let cluster = Cluster::start().await;
    let client = cluster.http();
    let id = client.submit(json!({ "script": "greet", "script_type": "SAL", "caller_id": "ann" })).await;
    let mut redis = cluster.redis.connection().unwrap();
    let (list, popped): (String, String) = redis.blpop("hero:q:work:type:sal", 10.0).unwrap();
    assert_eq!((list.as_str(), popped.as_str()), ("hero:q:work:type:sal", id.as_str()));
    let key = format!("hero:job:{id}");
    let [script, script_type, caller]: [String; 3] =
        redis.hmget(&key, &["script", "script_type", "caller_id"]).unwrap();
    assert_eq!([script.as_str(), &script_type, &caller], ["greet", "sal", "ann"]);
    () = redis.hset_multiple(&key, &[("status", "finished"), ("output", "hello")]).unwrap();
    assert_eq!(client.call("get_job_status", json!([id])).await, "Finished");
    assert_eq!(client.call("get_job_output", json!([id])).await, "hello");
    assert_eq!(client.wait(&id).await["output"], "hello");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_finds_the_end_that_an_actor_wrote_without_telling() {
    let cluster = Cluster::start().await;
    let client = cluster.ws().await;
    let id = client.submit(json!({ "script": "greet", "script_type": "V" })).await;
    let mut redis = cluster.redis.connection().unwrap();
    let ask = json!({ "job_id": id, "timeout": 30 });
    let act = async {
        let (_, popped): (String, String) = redis.blpop("hero:q:work:type:v", 10.0).unwrap();
        // The wait is answered after this call is, for both share one connection.
        client.call("get_job_status", json!([popped])).await;
        let key = format!("hero:job:{popped}");
        () = redis.hset_multiple(&key, &[("status", "error"), ("error", "no luck")]).unwrap();
    };
    let (job, ()) = tokio::join!(client.call("wait_job", ask), act);
    assert_eq!((&job["status"], &job["error"]), (&json!("Error"), &json!("no luck")));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_only_writes_the_hash_and_pushes_the_id_is_served() {
    let cluster = Cluster::start().await;
    let client = cluster.http();
    let mut redis = cluster.redis.connection().unwrap();
    for (number, script_type) in ["osis", "OSIS"].into_iter().enumerate() {
        let id = format!("9f0c3e6a-58a4-4f6e-9d5a-2b8a4d1b7c1{number}");
        () = redis
            .hset_multiple(format!("hero:job:{id}"), &[("script", "40 + 2"), ("script_type", script_type)])
            .unwrap();
        () = redis.rpush("hero:q:work:type:osis", &id).unwrap();
        let job = until("the job has ended", async || {
            let job = client.try_call("get_job", json!([id])).await.ok()?;
            (job["status"] == "Finished").then_some(job)
        })
        .await;
        assert_eq!((&job["output"], &job["script_type"]), (&json!("42"), &json!("OSIS")));
        assert!(job["created_at"].is_string(), "{job}");
        let listed = client.call("list_jobs", json!([])).await;
        assert!(listed.as_array().unwrap().contains(&json!(id)), "{listed}");
        let ended: String = redis.hget(format!("hero:job:{id}"), "status").unwrap();
        assert_eq!(ended, "finished");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_pops_the_reply_learns_of_the_end() {
    let cluster = Cluster::start().await;
    let mut redis = cluster.redis.connection().unwrap();
    for (number, (script, reply)) in [("1", "finished"), ("throw 1", "error")].into_iter().enumerate() {
        let id = format!("9f0c3e6a-58a4-4f6e-9d5a-2b8a4d1b7c2{number}");
        let job = [("script", script), ("script_type", "osis")];
        () = redis.hset_multiple(format!("hero:job:{id}"), &job).unwrap();
        () = redis.rpush("hero:q:work:type:osis", &id).unwrap();
        let (_, told): (String, String) = redis.blpop(format!("hero:q:reply:{id}"), 10.0).unwrap();
        assert_eq!(told, reply);
        let left: i64 = redis.ttl(format!("hero:q:reply:{id}")).unwrap();
        assert_eq!(left, -2, "the list is empty again, so it is gone");
    }
    cluster.stop().await;
}
