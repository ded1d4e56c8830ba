"""What a caller does, from outside, through the published port."""

import asyncio
import json

import pytest
import websockets

from stack import PORT, CallError, call, eventually, finished, submit

pytestmark = pytest.mark.usefixtures("up")


@pytest.mark.parametrize(
    ("script", "script_type", "output"),
    [("40 + 2", "OSIS", "42"), ("print(6 * 7)", "Python", "42\n"), ('name_fix("Forty Two")', "SAL", "forty_two")],
)
def test_each_script_type_runs(script, script_type, output):
    assert call("run_job", script, script_type) == output


def test_a_job_waits_for_those_before_it():
    first = call("create_job", {"script": '"first"', "script_type": "OSIS"})
    second = submit("print('second')", "Python", prerequisites=[first])
    third = submit('"third"', prerequisites=[second])
    assert call("get_job_status", third) == "WaitingForPrerequisites"
    call("start_job", first)
    assert call("wait_job", third)["output"] == "third"
    assert call("get_job", second)["output"] == "second\n"


def test_a_running_job_is_read_and_stopped():
    job = submit("import time\nprint('working', flush=True)\ntime.sleep(600)", "Python")
    eventually("it says what it does", lambda: "working" in json.dumps(call("get_job_logs", job)))
    call("stop_job", job)
    assert finished(job)["error_kind"] == "stopped"


def test_a_script_that_fails_is_told_apart_from_a_service_that_does():
    with pytest.raises(CallError) as refusal:
        call("run_job", "throw `no`", "OSIS")
    assert refusal.value.reason == "SCRIPT_FAILED"


def test_a_websocket_carries_many_calls_at_once():
    async def many():
        async with websockets.connect(f"ws://127.0.0.1:{PORT}") as connection:
            for number in range(20):
                params = {"script": f"{number} * 2", "script_type": "OSIS"}
                await connection.send(
                    json.dumps({"jsonrpc": "2.0", "id": number, "method": "run_job", "params": params})
                )
            return [json.loads(await connection.recv()) for _ in range(20)]

    assert {answer["id"]: answer["result"] for answer in asyncio.run(many())} == {n: str(n * 2) for n in range(20)}
