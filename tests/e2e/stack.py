"""The compose file as a person would use it: Docker found or started, images built, services up, asked from outside."""

import http.client
import json
import os
import pathlib
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROJECT = "hero-e2e"
PORT, PORT_B = 18080, 18180
SERVICES = [
    "supervisor", "gateway", "explorer", "runner", "runner-python", "launcher", "msgbus-relay", "mycelium-bridge"
]  # fmt: skip
# What runs when the compose file is brought up, and how many runners that are.
RUNNING = ["gateway", "supervisor", "explorer", "runner-osis", "runner-python", "runner-sal", "msgbus-relay"]
RUNNERS = 3
BASES = {"BASE_IMAGE": "hero-local/base:bookworm", "PYTHON_IMAGE": "hero-local/python:bookworm"}
ENVIRONMENT = {
    **os.environ,
    "COMPOSE_PROJECT_NAME": PROJECT,
    "HERO_TAG": "e2e",
    "HERO_PORT": str(PORT),
    "HERO_PORT_B": str(PORT_B),
    "REDIS_IMAGE": "hero-local/redis:bookworm",
    "DOCKER_BUILDKIT": "1",
}


def docker_cli():
    """Docker's client: Debian's own where it is there, since it builds without a plugin."""
    return "/usr/bin/docker" if os.access("/usr/bin/docker", os.X_OK) else shutil.which("docker")


DOCKER = docker_cli()


def run(*command, check=True, **more):
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT, check=False, **more)
    assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def docker(*arguments, **more):
    return run(DOCKER, *arguments, **more)


def compose(*arguments, **more):
    v2 = subprocess.run([DOCKER, "compose", "version"], capture_output=True, check=False).returncode == 0
    return run(*([DOCKER, "compose"] if v2 else ["docker-compose"]), *arguments, **more)


def eventually(what, condition, seconds=60.0):
    """Waits until a condition holds, and says what it waited for when it never does."""
    deadline, seen = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        try:
            seen = condition()
            if seen:
                return seen
        except (OSError, AssertionError) as error:
            seen = error
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:.0f} s: {what}; last seen: {seen!r}")


class Daemon:
    """Docker's daemon: the one that runs, else one of our own, which ends with us."""

    def __init__(self):
        self.process = None

    def __enter__(self):
        if not self.answers():
            assert shutil.which("dockerd"), "dockerd is missing: make e2e installs it"
            log = (ROOT / "target" / "dockerd.log").open("w", encoding="utf-8")
            self.process = subprocess.Popen(["dockerd"], stdout=log, stderr=log)  # pylint: disable=consider-using-with
            eventually("dockerd answers", self.answers)
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.terminate()
            self.process.wait(60)

    @staticmethod
    def answers():
        return subprocess.run([DOCKER, "info"], capture_output=True, check=False).returncode == 0


def build(target):
    arguments = {**BASES, "BINARIES": "prebuilt", "VERSION": "e2e", "REVISION": run("git", "rev-parse", "HEAD")}
    flags = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
    docker("build", "-q", "-f", "deploy/docker/Dockerfile", "--target", target, "-t", f"hero-{target}:e2e", *flags, ".")


class CallError(Exception):
    """The gateway's refusal."""

    def __init__(self, error):
        super().__init__(json.dumps(error))
        self.reason = (error.get("data") or {}).get("reason")


def call(method, *params, port=PORT, timeout=90):
    """One call over HTTP, as any program outside would make it."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}", body, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=timeout) as response:
        answer = json.load(response)
    if "error" in answer:
        raise CallError(answer["error"])
    return answer["result"]


def submit(script, script_type="OSIS", port=PORT, **more):
    return call("submit_job", {"script": script, "script_type": script_type, **more}, port=port)


def finished(job_id, port=PORT, seconds=60):
    """The job once it has ended, however often the gateway is away meanwhile."""

    def look():
        try:
            job = call("get_job", job_id, port=port, timeout=10)
        except CallError as error:
            assert error.reason in {"STORE_UNAVAILABLE", "UPSTREAM_UNAVAILABLE", "SHUTTING_DOWN", "DEADLINE_EXCEEDED"}, error
            return None
        return job if job["status"] in {"Finished", "Error", "Stopped"} else None

    return eventually(f"{job_id} ends", look, seconds)


def containers(service):
    return compose("ps", "-q", service).split()


def alive_runners(port=PORT):
    return [runner for runner in call("list_runners", port=port, timeout=5) if runner["state"] == "alive"]


def ready(port=PORT, runners=RUNNERS):
    """Waits until jobs run: the gateway answers, and so many runners are alive."""
    eventually("the gateway answers and runners are alive", lambda: len(alive_runners(port)) >= runners, 90)


class Load:
    """Jobs from a few callers, one after the other, each made good until it was acknowledged: the same key, so no job
    twice. What was acknowledged is what must not be lost."""

    def __init__(self, callers=4, pause=0.02):
        self.acknowledged, self.refused = {}, 0
        self._pause, self._stop = pause, threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(callers)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self, number):
        count = 0
        while not self._stop.is_set():
            count += 1
            python = number == 0 and count % 5 == 0
            text = f"{number}-{count}"
            key = str(uuid.uuid4())
            while True:
                try:
                    script = f"print('{text}')" if python else f'"{text}"'
                    job = submit(script, "Python" if python else "OSIS", idempotency_key=key, max_deliveries=20)
                    self.acknowledged[job] = text
                    break
                except (OSError, CallError, ValueError, http.client.HTTPException):
                    self.refused += 1
                    time.sleep(0.1)
                    if self._stop.is_set():
                        return
            self._stop.wait(self._pause)

    def grows(self, by=5):
        """Waits until so many more were acknowledged: the system is alive."""
        before = len(self.acknowledged)
        eventually("calls are served", lambda: len(self.acknowledged) >= before + by, 60)

    def verdict(self, seconds=120):
        """Every acknowledged job ended, and with its own output."""
        assert len(self.acknowledged) >= 20
        for job_id, text in self.acknowledged.items():
            job = finished(job_id, seconds=seconds)
            assert (job["status"], (job["output"] or "").strip()) == ("Finished", text), job
