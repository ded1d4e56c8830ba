"""The attack suite of tests/tests/it/stories/attacks.rs inside a container with Docker's default privileges."""

import json
import pathlib

import pytest

import stack

IMAGE = "hero-attacks:e2e"
# Redis and Python side by side: what the suite starts.
DOCKERFILE = """
FROM hero-local/python:bookworm AS python
FROM hero-local/redis:bookworm
COPY --from=python /usr /usr
"""


@pytest.fixture(scope="module", name="suite")
def the_suite(tmp_path_factory):
    """The program of the suite, and an image to run it in."""
    built = stack.run("cargo", "test", "--workspace", "--test", "it", "--no-run", "--message-format=json", timeout=3600)
    messages = [json.loads(line) for line in built.splitlines() if line.startswith("{")]
    is_suite = lambda message: message.get("executable") and message["target"]["src_path"].endswith("tests/tests/it/main.rs")
    (program,) = [message["executable"] for message in messages if is_suite(message)]
    with stack.Daemon():
        stack.run("deploy/docker/local-base.sh", timeout=1800)
        folder = tmp_path_factory.mktemp("image")
        (folder / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
        stack.docker("build", "-q", "-t", IMAGE, str(folder), timeout=600)
        yield pathlib.Path(program)


@pytest.mark.parametrize("user", ["65532:65532", "0:0"], ids=["ordinary-user", "root"])
@pytest.mark.parametrize("mode", ["required", "best_effort"])
def test_no_attack_gets_in_inside_a_container(suite, mode, user):
    told = stack.docker(
        "run", "--rm", "--init", "--user", user, "--tmpfs", "/tmp:mode=1777,exec", "-e", "HOME=/tmp",
        "-v", f"{suite}:/suite:ro", "--entrypoint", "/suite", IMAGE,
        f"no_attack_gets_in_with_a_{mode}_sandbox", "--nocapture", timeout=900,
    )  # fmt: skip
    assert "1 passed" in told, told
