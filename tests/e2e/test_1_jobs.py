"""What a caller does, from outside, through the published port."""

import asyncio
import base64
import hashlib
import io
import json
import tarfile
import urllib.request

import jsonschema
import pytest
import websockets

from stack import PORT, ROOT, CallError, call, eventually, finished, submit

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


def test_subscribers_are_told_of_a_job_and_of_its_lines():
    async def follow():
        async with websockets.connect(f"ws://127.0.0.1:{PORT}") as connection:
            script = "import time\nfor n in range(3):\n    print(n, flush=True)\n    time.sleep(0.3)"
            job = call("create_job", {"script": script, "script_type": "Python"})
            for number, method in enumerate(("subscribe_job", "subscribe_logs"), 1):
                await connection.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": [job]}))
            events, lines, ended, started = [], [], None, False
            while not (ended and "finished" in events):
                message = json.loads(await asyncio.wait_for(connection.recv(), 60))
                if not started and "result" in message:
                    started = True
                    call("start_job", job)
                news = message.get("params", {}).get("result", {})
                events += [news["event"]] if "event" in news else []
                lines += [line["text"] for line in news.get("lines", [])]
                ended = ended or news.get("ended")
            return events, lines, ended

    events, lines, ended = asyncio.run(follow())
    assert events[0] == "current" and events[-2:] == ["started", "finished"]
    assert (lines, ended) == (["0", "1", "2"], "Finished")


# The schema of the project OpenRPC itself, published by it; it is fetched for the test and kept nowhere but in target/.
META_SCHEMA = "https://registry.npmjs.org/@open-rpc/meta-schema/-/meta-schema-1.14.9.tgz"
META_SCHEMA_SHA512 = "2/CbDzOVpcaSnMs28TsRv8MKJwJi0TTYFlQ6q6qobAH26oIuhYgcZooKf4l71emgntU6MMcFQCA0h4mJ4dBCdA=="


def meta_schema():
    kept = ROOT / "target" / "tools" / "open-rpc-meta-schema.tgz"
    if not kept.exists():
        with urllib.request.urlopen(META_SCHEMA, timeout=60) as answer:
            kept.write_bytes(answer.read())
    packed = kept.read_bytes()
    assert base64.b64encode(hashlib.sha512(packed).digest()).decode() == META_SCHEMA_SHA512
    with tarfile.open(fileobj=io.BytesIO(packed)) as package:
        text = package.extractfile("package/index.js").read().decode()
    return json.JSONDecoder().raw_decode(text, text.index('{ "$schema"'))[0]


def with_draft_7(schema):
    """Schemas in the document are those of JSON Schema, which the meta-schema names by an address of its own."""
    if isinstance(schema, list):
        return [with_draft_7(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    outside = schema.get("$ref")
    if isinstance(outside, str) and outside.startswith("https://meta.json-schema.tools"):
        return {"type": "string"} if outside.endswith("$ref") else {"$ref": "http://json-schema.org/draft-07/schema#"}
    return {name: with_draft_7(value) for name, value in schema.items() if name not in ("$schema", "$id")}


def test_the_openrpc_document_fits_the_meta_schema():
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/openrpc.json", timeout=10) as answer:
        document = json.loads(answer.read())
    assert document == call("rpc.discover")
    validator = jsonschema.Draft7Validator(with_draft_7(meta_schema()))
    misfits = [f"{list(misfit.path)}: {misfit.message}" for misfit in validator.iter_errors(document)]
    assert not misfits and len(document["methods"]) > 50, misfits
    # It does tell a bad one.
    assert list(validator.iter_errors({**document, "methods": [{"name": "no params"}]}))
