"""What is in the images, and how the containers run."""

import json

import pytest

from stack import ROOT, RUNNING, SERVICES, compose, containers, docker, eventually, run

pytestmark = pytest.mark.usefixtures("up")
CONTAINERS = RUNNING
PUBLISHED = {"gateway", "msgbus-relay"}
MIB = 1 << 20
# Of the image; the binary is stripped, and an optimised one is smaller.
MOST_BYTES = {"runner-python": 400 * MIB, "launcher": 400 * MIB}
SHELL = {"runner-python", "launcher"}


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_is_small_labelled_and_starts_its_binary(service):
    (image,) = json.loads(docker("image", "inspect", f"hero-{service}:e2e"))
    config = image["Config"]
    binary = f"/usr/local/bin/{service.removesuffix('-python')}"
    assert config["Entrypoint"] == [binary]
    assert config["User"] == "65532:65532"
    assert config["Healthcheck"]["Test"] == ["CMD", binary, "healthcheck"]
    assert config["Labels"]["org.opencontainers.image.revision"] == run("git", "rev-parse", "HEAD")
    print(f"hero-{service}: {image['Size'] / MIB:.0f} MiB")
    assert image["Size"] < MOST_BYTES.get(service, 160 * MIB)


def test_only_images_for_python_scripts_have_a_shell():
    for service in SERVICES:
        missing = docker("run", "--rm", "--entrypoint", "/bin/sh", f"hero-{service}:e2e", "-c", "echo shell", check=False)
        assert (missing == "shell") == (service in SHELL), service


@pytest.mark.parametrize("service", CONTAINERS)
def test_a_container_has_no_right_that_it_does_not_need(service):
    for container in json.loads(docker("inspect", *containers(service))):
        host = container["HostConfig"]
        assert host["ReadonlyRootfs"] is True
        assert host["CapDrop"] == ["ALL"] and not host["CapAdd"] and not host["Privileged"]
        assert "no-new-privileges:true" in host["SecurityOpt"]


@pytest.mark.parametrize("service", CONTAINERS)
def test_a_container_says_that_it_is_healthy(service):
    for container in containers(service):
        eventually(
            f"{service} is healthy",
            lambda container=container: docker("inspect", "-f", "{{.State.Health.Status}}", container) == "healthy",
        )


def test_what_scripts_leave_behind_is_reaped():
    for service in ("runner-osis", "runner-python", "runner-sal"):
        for container in json.loads(docker("inspect", *containers(service))):
            assert container["HostConfig"]["Init"] is True


def test_ports_are_published_on_loopback_only():
    for service in [*CONTAINERS, "redis"]:
        for container in json.loads(docker("inspect", *containers(service))):
            published = [port for ports in container["NetworkSettings"]["Ports"].values() for port in ports or []]
            assert bool(published) == (service in PUBLISHED)
            assert {port["HostIp"] for port in published} <= {"127.0.0.1"}


def test_every_variant_of_the_compose_file_can_be_read():
    names = ("two-nodes", "observability", "mycelium", "mycelium-daemon")
    profiles = ([], *(["--profile", profile] for profile in names))
    for flags in (*profiles, ["-f", "docker-compose.yml", "-f", "deploy/docker/secrets.yml"]):
        assert "hero-gateway" in compose(*flags, "config")
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    for line in example.splitlines():
        name = line.removeprefix("# ").partition("=")[0]
        if "=" in line and name.isupper() and not name.startswith("COMPOSE"):
            assert f"${{{name}:-" in text, f"{name} is not in docker-compose.yml"
