"""Backup and restore of the job store, as docs/operations.md has it."""

import time

import pytest

from stack import PROJECT, RUNNING, call, compose, containers, docker, eventually, finished, ready, submit

pytestmark = pytest.mark.usefixtures("up")


OPERATOR = ("--user", "hero-operator", "--pass", "hero-operator", "--no-auth-warning")


def redis(*command):
    return docker("exec", containers("redis")[0], "redis-cli", *OPERATOR, *command)


def restoring(*command):
    return docker("exec", "hero-e2e-restore", "redis-cli", *command, check=False)


def test_a_backup_brings_every_job_back(tmp_path):
    done = submit('"kept"')
    finished(done)
    waits = call("create_job", {"script": '"later"', "script_type": "OSIS"})
    # The backup: everything in one file that Redis writes beside its own.
    before = int(redis("LASTSAVE"))
    time.sleep(1.1)  # LASTSAVE counts seconds
    redis("BGSAVE")
    eventually("the snapshot is written", lambda: int(redis("LASTSAVE")) > before)
    docker("cp", f"{containers('redis')[0]}:/data/dump.rdb", str(tmp_path))
    # The loss: everything is gone.
    lost = submit('"made after the backup"')
    finished(lost)
    compose("stop", *RUNNING, "redis")
    compose("rm", "-f", "redis")
    docker("volume", "rm", f"{PROJECT}_redis-data")
    # The restore: the snapshot is loaded by a Redis without an append-only file, which then begins one.
    compose("up", "--no-start", "--no-build", "redis")
    labels = (f"com.docker.compose.project={PROJECT}", "com.docker.compose.service=redis")
    container = docker("ps", "-aq", *[part for label in labels for part in ("--filter", f"label={label}")])
    docker("cp", str(tmp_path / "dump.rdb"), f"{container}:/data/dump.rdb")
    docker(
        "run", "--rm", "-d", "--name", "hero-e2e-restore", "--volumes-from", container, "hero-local/redis:bookworm",
        "redis-server", "--dir", "/data", "--appendonly", "no",
    )  # fmt: skip
    eventually("the snapshot is loaded", lambda: restoring("PING") == "PONG")
    restoring("CONFIG", "SET", "appendonly", "yes")
    written = {"aof_enabled:1", "aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0", "aof_last_bgrewrite_status:ok"}
    eventually("its file is written", lambda: written <= set(restoring("INFO", "persistence").split()))
    docker("stop", "hero-e2e-restore")
    compose("up", "-d", "--no-build")
    ready()
    assert call("get_job", done)["output"] == "kept"
    call("start_job", waits)
    assert finished(waits)["output"] == "later"

