"""A circle: added at run time, logged in to with a key, with a runner of its own; it sees its own jobs and nothing else."""

import asyncio
import itertools
import json

import pytest
import websockets
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_keys import keys

from stack import PORT, CallError, call, compose, docker, eventually, submit

pytestmark = pytest.mark.usefixtures("up")
MEMBER, STRANGER = keys.PrivateKey(b"\x01" * 32), keys.PrivateKey(b"\x02" * 32)
TENANT = "hero-e2e-tenant"


def public(key):
    return key.public_key.to_compressed_bytes().hex()


CIRCLE = public(MEMBER)


@pytest.fixture(scope="module")
def circle(up):
    call("add_circle", CIRCLE)
    compose("run", "-d", "--name", TENANT, "-e", f"HERO_RUNNER__CIRCLE={CIRCLE}", "runner-osis")
    eventually("its runner is alive", lambda: CIRCLE in json.dumps(call("list_runners")))
    yield CIRCLE
    docker("rm", "-f", TENANT)
    call("remove_circle", CIRCLE)


async def at_the_circle(key, *calls):
    """Logs in with a key, makes the calls on the same connection; whether it is a member, and the answers."""
    numbers = itertools.count(1)
    async with websockets.connect(f"ws://127.0.0.1:{PORT}/{CIRCLE}") as connection:

        async def ask(method, *params):
            request = {"jsonrpc": "2.0", "id": next(numbers), "method": method, "params": params}
            await connection.send(json.dumps(request))
            answer = json.loads(await connection.recv())
            return answer.get("result", answer.get("error"))

        nonce = await ask("fetch_nonce", public(key))
        signature = Account.sign_message(encode_defunct(text=nonce), key.to_hex()).signature.hex()
        is_member = await ask("authenticate", public(key), signature, nonce)
        return is_member, [await ask(*each) for each in calls]


def test_a_member_runs_jobs_in_its_circle_and_sees_no_others(circle):
    outside = submit("1")
    calls = [("run_job", "40 + 2", "OSIS"), ("get_job", outside), ("list_jobs",)]
    is_member, (output, foreign, listed) = asyncio.run(at_the_circle(MEMBER, *calls))
    assert is_member is True and output == "42"
    assert foreign["data"]["reason"] == "JOB_NOT_FOUND"
    assert len(listed) == 1 and outside not in listed
    job = call("get_job", listed[0])
    assert job["output"] == "42" and circle in json.dumps(job)


def test_a_stranger_is_no_member(circle):
    # Callers of this stack are asked for no secret, so what it may do without a login is not told here: that is
    # `every_method_lets_in_whom_it_should_and_nobody_else`.
    is_member, (name,) = asyncio.run(at_the_circle(STRANGER, ("whoami",)))
    assert is_member is False and public(STRANGER) not in name, (circle, name)


def test_a_circle_that_is_not_served_is_not_there():
    with pytest.raises(websockets.exceptions.InvalidStatus) as refusal:
        asyncio.run(_connect(public(STRANGER)))
    assert refusal.value.response.status_code == 404


async def _connect(key):
    async with websockets.connect(f"ws://127.0.0.1:{PORT}/{key}"):
        raise AssertionError("it is served")


def test_circles_are_for_admins_and_a_wrong_key_is_named():
    with pytest.raises(CallError, match="public_key"):
        call("add_circle", "05")
