"""Everything up once for the whole run, and gone afterwards."""

import pytest

import stack


@pytest.fixture(scope="session")
def up():
    with stack.Daemon():
        stack.run("deploy/docker/local-base.sh", timeout=1800)
        for target in stack.SERVICES:
            stack.build(target)
        # What an interrupted run has left.
        stack.compose("--profile", "two-nodes", "down", "-v", "--remove-orphans")
        try:
            stack.compose("up", "-d", "--no-build", timeout=300)
            stack.ready()
            yield stack
        finally:
            logs = stack.ROOT / "target" / "e2e.log"
            logs.write_text(stack.compose("--profile", "two-nodes", "logs", "--no-color", check=False), encoding="utf-8")
            stack.compose("--profile", "two-nodes", "down", "-v", "--remove-orphans", timeout=300)
