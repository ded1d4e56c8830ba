//! The bench works from beginning to end, in its small sizes. No figure is held against a time here.

use std::process::Command;

#[test]
fn a_quick_run_measures_everything() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let run = Command::new(env!("CARGO_BIN_EXE_hero-bench"))
        .args(["--quick", "--json"])
        .arg(&json)
        .arg("--services")
        .arg(hero_testing::binaries())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{printed}{}", String::from_utf8_lossy(&run.stderr));

    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let figures = report["figures"].as_array().unwrap();
    for name in [
        "floor.redis.jobs",
        "floor.jsonrpsee.ws.32.rate",
        "floor.tonic.1.p50",
        "floor.rhai.compiled",
        "enqueue.single.ws.32",
        "enqueue.submit_jobs",
        "end_to_end.rate",
        "run_job.ws.1.p50",
        "run_job.ws.32.rate",
        "run_job.http.32.rate",
        "pick_up.p99_9",
        "python.fresh.p50",
        "python.warm.1.p50",
        "python.cold.16.rate",
        "scripts.osis_objects.1.p50",
        "scripts.sal.16.rate",
        "logs.live.p99",
        "exchange.5000.redis",
        "waiting.5000.end_to_end.rate",
        "waiting.bytes_a_job",
        "idle.memory.gateway",
        "idle_launcher.memory.launcher",
        "edge.status.gateway.p50",
        "edge.idle_socket",
        "edge.churn.rate",
        "explorer.memory",
        "explorer.page_of_100.p50",
        "explorer.call_node.p50",
        "overlay.bridge.1.p50",
        "overlay.rate",
        "overlay.idle.calls",
        "bus.straight.16.rate",
        "bus.16.rate",
        "bus.1.p50",
        "bus.64k.16.rate",
        "bus.dead.16.p99",
    ] {
        let figure = figures.iter().find(|figure| figure["name"] == name);
        let value = figure.and_then(|figure| figure["value"].as_f64());
        assert!(value.is_some_and(|value| value > 0.0), "{name} is {value:?} in\n{printed}");
    }
    for name in ["bus.lost", "bus.doubled", "bus.left_behind"] {
        let figure = figures.iter().find(|figure| figure["name"] == name);
        assert_eq!(figure.and_then(|figure| figure["value"].as_f64()), Some(0.0), "{name} in\n{printed}");
    }
    let compared = figures.iter().find(|figure| figure["name"] == "end_to_end.rate").unwrap();
    assert_eq!(compared["floor"], "floor.redis.jobs");
    assert!(compared["ratio"].as_f64().unwrap() > 0.0);
    assert!(report["costs"][0]["cpu_us_a_job"]["redis-server"].as_f64().is_some());
}

#[test]
fn missing_services_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_hero-bench"))
        .args(["--quick", "--only", "enqueue", "--services"])
        .arg(folder.path())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&run.stdout);
    assert!(!run.status.success());
    assert!(printed.contains("cannot start gateway"), "{printed}");
}
