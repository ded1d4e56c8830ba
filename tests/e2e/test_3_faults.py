"""Containers killed, cut off and restarted under load: what was acknowledged is not lost, and callers are served again."""

import pytest

from stack import RUNNERS, RUNNING, Load, PROJECT, alive_runners, call, compose, containers, docker, eventually, finished, ready, submit

pytestmark = pytest.mark.usefixtures("up")


@pytest.mark.parametrize("service", [*RUNNING, "redis"])
def test_a_container_is_killed_under_load_and_nothing_is_lost(service):
    with Load() as load:
        load.grows()
        victim = containers(service)[0]
        docker("kill", "-s", "KILL", victim)
        # Docker starts again what died, but not what a person has killed.
        docker("start", victim)
        load.grows(20)
    load.verdict()
    ready()


def test_a_runner_that_is_cut_off_the_network_loses_its_job_to_another():
    compose("up", "-d", "--no-build", "--scale", "runner-python=2", "runner-python")
    ready(runners=RUNNERS + 1)
    job = submit("import time\nprint('begun', flush=True)\ntime.sleep(8)\nprint('done')", "Python")
    runner = eventually("it runs", lambda: call("get_job", job)["runner_id"])
    (victim,) = [each for each in containers("runner-python") if runner.startswith(each[:12])]
    docker("network", "disconnect", f"{PROJECT}_default", victim)
    ended = finished(job, seconds=90)
    assert ended["status"] == "Finished" and ended["output"].endswith("done\n")
    assert ended["attempt"] == 2 and ended["runner_id"] != runner
    docker("network", "connect", f"{PROJECT}_default", victim)
    ready(runners=RUNNERS + 1)
    compose("up", "-d", "--no-build", "--scale", "runner-python=1", "runner-python")


def test_a_supervisor_that_is_cut_off_is_replaced_by_the_other():
    victim = containers("supervisor")[0]
    docker("network", "disconnect", f"{PROJECT}_default", victim)
    try:
        eventually("calls are served by the other one", lambda: call("run_job", "1 + 1", "OSIS", timeout=15) == "2")
    finally:
        docker("network", "connect", "--alias", "supervisor", f"{PROJECT}_default", victim)
    eventually("calls are served", lambda: call("run_job", "1 + 1", "OSIS") == "2")


def test_a_rolling_restart_of_everything_loses_nothing():
    with Load() as load:
        load.grows()
        for service in (*RUNNING, "redis"):
            for container in containers(service):
                docker("restart", "-t", "30", container)
                load.grows(10)
    load.verdict()
    ready()


def test_three_runners_share_the_work():
    compose("up", "-d", "--no-build", "--scale", "runner-osis=3", "runner-osis")
    eventually("three of them are alive", lambda: len([r for r in alive_runners() if "OSIS" in r["script_types"]]) == 3)
    busy = "let x = 0; for i in 0..300000 { x += i % 7; } x"
    jobs = [submit(busy, timeout=120) for _ in range(24)]
    assert len({finished(job, seconds=180)["runner_id"] for job in jobs}) == 3
    compose("up", "-d", "--no-build", "--scale", "runner-osis=1", "runner-osis")
