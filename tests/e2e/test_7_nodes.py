"""Two nodes and their twins, known to one explorer: calls, jobs and messages from one to the other."""

import json

import pytest

from stack import PORT_B, PROJECT, CallError, call, compose, containers, docker, eventually, finished, ready, submit

pytestmark = pytest.mark.usefixtures("two_nodes")
SERVICES_B = ["gateway-b", "supervisor-b", "runner-b", "msgbus-relay-b", "redis-b"]


def state_of(node):
    """The state of a node, as the other one hears of it; none while it does not serve Python."""
    nodes = call("list_nodes", {"script_type": "Python"})["nodes"]
    return next((found["state"] for found in nodes if found["node_id"] == node), None)


@pytest.fixture(scope="module")
def two_nodes(up):
    compose("--profile", "two-nodes", "up", "-d", "--no-build")
    ready(PORT_B, runners=1)
    for node in ("node-a", "node-b"):
        eventually(f"{node} is known", lambda node=node: state_of(node) == "alive")
    yield up
    compose("--profile", "two-nodes", "rm", "-sf", *SERVICES_B)


def test_a_second_node_has_its_own_jobs():
    job = submit("print('on b')", "Python", port=PORT_B)
    assert finished(job, port=PORT_B)["output"] == "on b\n"
    assert call("run_job", "1", "OSIS") == "1"
    with pytest.raises(CallError, match="JOB_NOT_FOUND"):
        call("get_job", job)


def test_a_call_goes_to_the_other_node():
    assert call("call_node", "node-b", "node_info")["node_id"] == "node-b"
    assert call("call_node", "node-a", "run_job", ["40 + 2", "OSIS"], port=PORT_B) == "42"


def test_a_job_for_any_node_but_this_one_runs_there_and_is_followed_from_here():
    job = submit("print('there')", "Python", node={"except": ["node-a"]})
    assert call("wait_job", job)["output"] == "there\n"
    assert call("get_job", job, port=PORT_B)["status"] == "Finished"
    assert call("wait_job", submit("1 + 1", node="any"))["output"] == "2"


def test_twins_find_each_other_in_the_registry_and_one_runs_a_job_of_the_other():
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "run_job", "params": ["40 + 2", "OSIS"]})

    def answer():
        (reply,) = call("bus_call", [2], "hero.rpc", request, None, 60, 5)
        assert reply["error"] is None, reply
        return json.loads(reply["data"])

    assert eventually("the twins know each other", answer)["result"] == "42"


def test_a_node_that_is_cut_off_is_given_no_jobs_and_comes_back():
    (victim,) = containers("supervisor-b")
    docker("network", "disconnect", f"{PROJECT}_default", victim)
    eventually("it is not counted on", lambda: state_of("node-b") != "alive", 90)
    with pytest.raises(CallError, match="NODE_NOT_FOUND"):
        call("call_node", {"except": ["node-a"]}, "whoami")
    assert call("wait_job", submit("1 + 1", node="any"))["output"] == "2"
    docker("network", "connect", "--alias", "supervisor-b", f"{PROJECT}_default", victim)
    eventually("it is counted on again", lambda: state_of("node-b") == "alive", 90)
    job = submit("print('back')", "Python", node={"except": ["node-a"]})
    assert call("wait_job", job)["output"] == "back\n"
