//! The floors: the same commands, calls and scripts with nothing of ours around them.

use std::{
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use redis::{Connection, Pipeline};
use rhai::{Dynamic, Engine};

use crate::{
    echo::EchoServer,
    http,
    latency::Latencies,
    load::{Call, Load, SCRIPT},
    options::Sizes,
    redis_server::RedisServer,
    report::Report,
    ws::WsConnection,
};

/// How many jobs a bare client puts into one pipeline.
const PIPELINE_JOBS: usize = 100;
/// Two connections keep Redis busy while the other one writes its pipeline.
const CONNECTIONS: usize = 2;

/// Measures every floor.
pub(crate) async fn measure(
    report: &mut Report,
    sizes: Sizes,
    folder: &std::path::Path,
    redis: &RedisServer,
) -> anyhow::Result<()> {
    let rate = pipelined(redis, sizes.floor_jobs, Stages::All)?;
    report.plain("floor.redis.jobs", rate, "/s");
    let rate = pipelined(redis, sizes.floor_jobs, Stages::CreateOnly)?;
    report.plain("floor.redis.enqueue", rate, "/s");
    let mut trip = round_trips(redis, sizes.round_trips)?;
    report.plain("floor.redis.round_trip.p50", trip.percentile_ms(0.5), "ms");
    report.plain("floor.redis.round_trip.p99", trip.percentile_ms(0.99), "ms");
    let mut trip = pings(redis, sizes.round_trips)?;
    report.plain("floor.redis.ping.p50", trip.percentile_ms(0.5), "ms");
    redis::cmd("FLUSHALL").exec(&mut redis.connect()?)?;
    echoes(report, sizes, folder).await?;
    scripts(report, sizes.round_trips)
}

async fn echoes(report: &mut Report, sizes: Sizes, folder: &std::path::Path) -> anyhow::Result<()> {
    let echo = EchoServer::start(folder).await?;
    let at_1 = Load::osis(Call::Echo, sizes.round_trips, 1);
    let at_32 = Load { requests: sizes.round_trips * 4, in_flight: 32, ..at_1 };
    let mut ws = WsConnection::open(echo.rpc).await?;
    let mut seen = ws.load(at_1).await?.checked("echo over WebSocket")?;
    report.plain("floor.jsonrpsee.ws.1.p50", seen.percentile_ms(0.5), "ms");
    let seen = ws.load(at_32).await?.checked("echo over WebSocket")?;
    report.plain("floor.jsonrpsee.ws.32.rate", seen.rate(), "/s");
    let mut seen = http::load(echo.rpc, at_1).await?.checked("echo over HTTP")?;
    report.plain("floor.jsonrpsee.http.1.p50", seen.percentile_ms(0.5), "ms");
    let seen = http::load(echo.rpc, at_32).await?.checked("echo over HTTP")?;
    report.plain("floor.jsonrpsee.http.32.rate", seen.rate(), "/s");
    let mut seen = echo.grpc_load(sizes.round_trips, 1).await?;
    report.plain("floor.tonic.1.p50", seen.percentile_ms(0.5), "ms");
    let seen = echo.grpc_load(sizes.round_trips * 4, 32).await?;
    report.plain("floor.tonic.32.rate", seen.rate(), "/s");
    Ok(())
}

fn scripts(report: &mut Report, runs: usize) -> anyhow::Result<()> {
    let engine = Engine::new();
    let begin = Instant::now();
    for _ in 0..runs {
        let _ = black_box(engine.eval::<Dynamic>(black_box(SCRIPT)).map_err(|e| anyhow::anyhow!("{e}"))?);
    }
    report.plain("floor.rhai.shared_engine", micros(begin.elapsed(), runs), "us");
    let ast = engine.compile(SCRIPT)?;
    let begin = Instant::now();
    for _ in 0..runs {
        let _ = black_box(engine.eval_ast::<Dynamic>(black_box(&ast)).map_err(|e| anyhow::anyhow!("{e}"))?);
    }
    report.plain("floor.rhai.compiled", micros(begin.elapsed(), runs), "us");
    Ok(())
}

fn micros(elapsed: Duration, count: usize) -> f64 {
    elapsed.as_secs_f64() * 1e6 / count as f64
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stages {
    All,
    CreateOnly,
}

/// Jobs a second when a bare client pipelines the commands of a job's life, events once a pipeline as the
/// store's scripts do.
fn pipelined(redis: &RedisServer, jobs: usize, stages: Stages) -> anyhow::Result<f64> {
    redis::cmd("FLUSHALL").exec(&mut redis.connect()?)?;
    let begin = Instant::now();
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|worker| {
            let connection = redis.connect()?;
            Ok(thread::spawn(move || pipelines(connection, worker, jobs / CONNECTIONS, stages)))
        })
        .collect::<anyhow::Result<_>>()?;
    let mut done = 0;
    for worker in workers {
        done += worker.join().map_err(|_| anyhow::anyhow!("a floor thread panicked"))??;
    }
    Ok(done as f64 / begin.elapsed().as_secs_f64())
}

fn pipelines(
    mut connection: Connection,
    worker: usize,
    jobs: usize,
    stages: Stages,
) -> anyhow::Result<usize> {
    let mut done = 0;
    while done < jobs {
        let ids: Vec<String> = (0..PIPELINE_JOBS).map(|job| id(worker, done + job)).collect();
        let names = ids.join(" ");
        let mut pipeline = Pipeline::new();
        for id in &ids {
            create(&mut pipeline, id);
        }
        queue(&mut pipeline, &ids);
        event(&mut pipeline, "queued", &names);
        if stages == Stages::All {
            pipeline.cmd("LPOP").arg(QUEUE).arg(PIPELINE_JOBS).ignore();
            for id in &ids {
                claim(&mut pipeline, id);
            }
            pipeline.cmd("RPUSH").arg(IN_FLIGHT).arg(&ids).ignore();
            event(&mut pipeline, "started", &names);
            for id in &ids {
                finish(&mut pipeline, id);
            }
            event(&mut pipeline, "finished", &names);
        }
        pipeline.exec(&mut connection)?;
        done += PIPELINE_JOBS;
    }
    Ok(done)
}

/// The bare round trip of one job: a client that creates and waits on the reply list, a worker that takes,
/// claims and finishes, each step one pipeline.
fn round_trips(redis: &RedisServer, trips: usize) -> anyhow::Result<Latencies> {
    redis::cmd("FLUSHALL").exec(&mut redis.connect()?)?;
    let mut worker = redis.connect()?;
    let working = thread::spawn(move || -> anyhow::Result<()> {
        for _ in 0..trips {
            let id: Option<String> = redis::cmd("BLMOVE")
                .arg(QUEUE)
                .arg(IN_FLIGHT)
                .arg("LEFT")
                .arg("RIGHT")
                .arg(10)
                .query(&mut worker)?;
            let id = id.context("no job came for 10 s")?;
            let mut pipeline = Pipeline::new();
            claim(&mut pipeline, &id);
            event(&mut pipeline, "started", &id);
            pipeline.exec(&mut worker)?;
            let mut pipeline = Pipeline::new();
            finish(&mut pipeline, &id);
            event(&mut pipeline, "finished", &id);
            pipeline.exec(&mut worker)?;
        }
        Ok(())
    });
    let mut client = redis.connect()?;
    let mut seen = Latencies::with_capacity(trips);
    let begin = Instant::now();
    for trip in 0..trips {
        let sent = Instant::now();
        let id = id(0, trip);
        let mut pipeline = Pipeline::new();
        create(&mut pipeline, &id);
        queue(&mut pipeline, std::slice::from_ref(&id));
        event(&mut pipeline, "queued", &id);
        pipeline.exec(&mut client)?;
        let reply: Option<(String, String)> =
            redis::cmd("BLPOP").arg(reply_key(&id)).arg(10).query(&mut client)?;
        reply.context("no reply came for 10 s")?;
        seen.add(sent.elapsed());
    }
    seen.elapsed = begin.elapsed();
    working.join().map_err(|_| anyhow::anyhow!("the floor's worker panicked"))??;
    Ok(seen)
}

fn pings(redis: &RedisServer, count: usize) -> anyhow::Result<Latencies> {
    let mut connection = redis.connect()?;
    let mut seen = Latencies::with_capacity(count);
    let begin = Instant::now();
    for _ in 0..count {
        let sent = Instant::now();
        redis::cmd("PING").exec(&mut connection)?;
        seen.add(sent.elapsed());
    }
    seen.elapsed = begin.elapsed();
    Ok(seen)
}

// The commands that the store's scripts issue for a plain job, on keys of their own.

const QUEUE: &str = "floor:q:work:type:osis";
const IN_FLIGHT: &str = "floor:q:inflight:runner-1";
const NOW: &str = "2026-11-21T11:06:00.123Z";

fn id(worker: usize, job: usize) -> String {
    format!("0193e2d0-7c7a-7b0e-{worker:04x}-{job:012x}")
}

fn job_key(id: &str) -> String {
    format!("floor:job:{id}")
}

fn reply_key(id: &str) -> String {
    format!("floor:q:reply:{id}")
}

fn event(pipeline: &mut Pipeline, kind: &str, ids: &str) {
    pipeline.cmd("XADD").arg("floor:events").arg("MAXLEN").arg("~").arg(2_048).arg("*");
    pipeline.arg("k").arg(kind).arg("ids").arg(ids).ignore();
}

fn create(pipeline: &mut Pipeline, id: &str) {
    pipeline.cmd("XADD").arg("floor:jobs").arg("*").arg("id").arg(id).arg("c").arg("default").ignore();
    pipeline.cmd("XADD").arg("floor:jobs:context:default").arg("*").arg("id").arg(id).ignore();
    pipeline.cmd("HSET").arg(job_key(id)).arg("id").arg(id).arg("script").arg(SCRIPT);
    pipeline
        .arg("script_type")
        .arg("osis")
        .arg("caller_id")
        .arg("anonymous")
        .arg("context_id")
        .arg("default");
    pipeline.arg("status").arg("dispatched").arg("created_at").arg(NOW).arg("queued_at").arg(NOW);
    pipeline.arg("entry").arg("1795259160123-0").ignore();
}

fn queue(pipeline: &mut Pipeline, ids: &[String]) {
    pipeline.cmd("RPUSH").arg(QUEUE).arg(ids).ignore();
}

fn claim(pipeline: &mut Pipeline, id: &str) {
    pipeline.cmd("HMGET").arg(job_key(id)).arg("script").arg("status").arg("attempt").arg("script_type");
    pipeline
        .arg("caller_id")
        .arg("context_id")
        .arg("timeout")
        .arg("env_vars")
        .arg("traceparent")
        .arg("entry");
    pipeline.ignore();
    pipeline.cmd("HSET").arg(job_key(id)).arg("status").arg("started").arg("attempt").arg(1);
    pipeline.arg("runner_id").arg("runner-1").arg("started_at").arg(NOW).ignore();
}

fn finish(pipeline: &mut Pipeline, id: &str) {
    pipeline.cmd("HMGET").arg(job_key(id)).arg("status").arg("attempt").arg("runner_id").arg("retention");
    pipeline.arg("marks").ignore();
    pipeline.cmd("LREM").arg(IN_FLIGHT).arg(1).arg(id).ignore();
    pipeline.cmd("HSET").arg(job_key(id)).arg("status").arg("finished").arg("output").arg("42");
    pipeline.arg("finished_at").arg(NOW).ignore();
    pipeline.cmd("EXPIRE").arg(job_key(id)).arg(604_800).ignore();
    pipeline.cmd("RPUSH").arg(reply_key(id)).arg("finished").ignore();
    pipeline.cmd("EXPIRE").arg(reply_key(id)).arg(60).ignore();
}
