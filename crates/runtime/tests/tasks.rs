//! Background work: what ends a service, what starts again, and the steps of a shutdown.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::bail;
use hero_runtime::{Condition, DrainConfig, Health, Shutdown, Tasks};
use tokio::{sync::mpsc, time::Instant};

fn drain(drain_delay_ms: u64, grace_ms: u64) -> DrainConfig {
    DrainConfig { drain_delay_ms, grace_ms }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_takes_its_steps_in_order() {
    let (trigger, shutdown) = Shutdown::new(drain(5_000, 20_000));
    let began = Instant::now();
    assert!(!shutdown.is_draining());
    let driver = tokio::spawn(async move { trigger.drain().await });
    shutdown.draining().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(shutdown.is_draining() && !shutdown.is_requested(), "it still accepts");
    shutdown.requested().await;
    assert!(began.elapsed() >= Duration::from_secs(5) && shutdown.is_requested());
    shutdown.grace_over().await;
    assert!(began.elapsed() >= Duration::from_secs(25));
    driver.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_without_a_trigger_never_comes() {
    let (trigger, shutdown) = Shutdown::new(drain(0, 0));
    drop(trigger);
    let outcome = tokio::time::timeout(Duration::from_secs(3600), shutdown.draining()).await;
    assert!(outcome.is_err());
}

#[tokio::test]
async fn an_essential_task_that_fails_ends_the_service() {
    let (_trigger, shutdown) = Shutdown::new(drain(0, 0));
    let mut tasks = Tasks::new(shutdown.clone());
    tasks.essential("forever", std::future::pending());
    tasks.essential("event reader", async { bail!("the stream is gone") });
    let said = format!("{:#}", tasks.finish().await.unwrap_err());
    assert!(said.contains("event reader") && said.contains("the stream is gone"), "{said}");

    let mut tasks = Tasks::new(shutdown.clone());
    tasks.essential("reader", async { panic!("no way {}", 1) });
    let said = tasks.finish().await.unwrap_err().to_string();
    assert!(said.contains("reader") && said.contains("no way 1"), "{said}");

    let mut tasks = Tasks::new(shutdown);
    tasks.essential("reader", async { Ok(()) });
    assert!(tasks.finish().await.unwrap_err().to_string().contains("before it was told to"));
}

#[tokio::test(start_paused = true)]
async fn a_restartable_task_starts_again_with_growing_pauses() {
    let (trigger, shutdown) = Shutdown::new(drain(0, 0));
    let (sender, mut starts) = mpsc::unbounded_channel();
    let attempts = Arc::new(AtomicU32::new(0));
    let mut tasks = Tasks::new(shutdown);
    tasks.restartable("reaper", move || {
        sender.send(Instant::now()).unwrap();
        let attempt = attempts.fetch_add(1, Ordering::Relaxed);
        async move {
            match attempt {
                1 => panic!("even this"),
                10 => std::future::pending().await,
                _ => bail!("redis is away"),
            }
        }
    });
    let mut times = Vec::new();
    for _ in 0..=10 {
        times.push(starts.recv().await.unwrap());
    }
    let pauses: Vec<_> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert!(pauses[0] >= 100 && pauses[0] < 200, "{pauses:?}");
    assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1] + 5), "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= 10_005), "{pauses:?}");
    assert!(
        hero_runtime::Telemetry::detached()
            .prometheus_text()
            .unwrap()
            .contains(r#"hero_task_restarts_total{task="reaper"} 10"#)
    );
    trigger.drain().await;
    tasks.finish().await.unwrap();
}

#[tokio::test]
async fn a_shutdown_lets_tasks_finish_and_cuts_off_the_late() {
    let (trigger, shutdown) = Shutdown::new(drain(0, 50));
    let mut tasks = Tasks::new(shutdown.clone());
    let (sender, mut done) = mpsc::channel(1);
    tasks.essential("polite", async move {
        shutdown.requested().await;
        sender.send("finished").await?;
        Ok(())
    });
    tasks.essential("late", std::future::pending());
    trigger.drain().await;
    tasks.finish().await.unwrap();
    assert_eq!(done.recv().await, Some("finished"));
}

#[tokio::test]
async fn a_task_that_is_aborted_by_its_handle_ends_nothing() {
    let (trigger, shutdown) = Shutdown::new(drain(0, 0));
    let mut tasks = Tasks::new(shutdown.clone());
    tasks.essential("gone", std::future::pending()).abort();
    tasks.essential("stays", async move {
        shutdown.requested().await;
        Ok(())
    });
    let end = tokio::spawn(tasks.finish());
    trigger.drain().await;
    end.await.unwrap().unwrap();
}

#[tokio::test]
async fn health_is_the_sum_of_its_conditions() {
    let health = Health::new();
    assert!(health.is_ready());
    let redis: Condition = health.scope("supervisor").condition("redis");
    assert!(!health.is_ready() && !redis.is_ready());
    assert_eq!(health.report().conditions["supervisor/redis"], "starting");
    let waiter = tokio::spawn({
        let health = health.clone();
        async move { health.ready().await }
    });
    redis.unready("connection refused");
    assert_eq!(health.report().conditions["supervisor/redis"], "connection refused");
    redis.ready();
    waiter.await.unwrap();
    assert_eq!(health.report().conditions["supervisor/redis"], "ok");
    assert!(health.scope("supervisor").condition("redis").is_ready(), "the same name is the same condition");
}
