"""The services as a real Prometheus sees them, with our alerts, and every query of the dashboards asked."""

import json
import shutil
import subprocess
import urllib.parse
import urllib.request

import pytest
import yaml

from stack import ROOT, CallError, call, containers, docker, eventually

pytestmark = [
    pytest.mark.usefixtures("up"),
    pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus comes from Debian's packages"),
]
ADMIN = {
    "gateway": 9080, "supervisor": 9081, "runner-osis": 9082, "runner-python": 9082, "runner-sal": 9082, "explorer": 9083,
    "msgbus-relay": 9085,
}  # fmt: skip
PROCESSES = len(ADMIN) + 1  # two supervisors
PORT = 19090
# Need what a short and peaceful run does not have: faults, limits met, an overlay.
QUIET = ("hero_limit_refused", "hero_store_swept", "hero_task_restarts", "hero_overlay", "hero:queue_wait")


def query(text):
    url = f"http://127.0.0.1:{PORT}/api/v1/query?" + urllib.parse.urlencode({"query": text})
    with urllib.request.urlopen(url, timeout=10) as response:
        return json.load(response)["data"]["result"]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    targets = []
    for service, port in ADMIN.items():
        addresses = [
            docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container)
            for container in containers(service)
        ]
        job = "hero-runner" if service.startswith("runner") else f"hero-{service}"
        targets.append({"targets": [f"{address}:{port}" for address in addresses], "labels": {"job": job}})
    folder = tmp_path_factory.mktemp("prometheus")
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ROOT / "helm" / "hero" / "files" / "prometheus-rules.yml")],
        "scrape_configs": [{"job_name": "hero", "static_configs": targets}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    flags = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{PORT}"]
    with subprocess.Popen(["prometheus", *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            eventually("every process is scraped", lambda: len(query("up == 1")) == PROCESSES)
            yield process
        finally:
            process.terminate()


def test_the_dashboards_show_data(prometheus):
    assert prometheus.poll() is None
    panels = [
        (board.stem, target["expr"])
        for board in sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
        for panel in json.loads(board.read_text(encoding="utf-8"))["panels"]
        for target in panel["targets"]
    ]
    asked = [(board, text) for board, text in panels if not any(word in text for word in QUIET)]
    assert len(asked) > 15

    def silent():
        call("run_job", "1", "OSIS")
        call("bus_call", [1], "nobody", "", None, 1)
        with pytest.raises(CallError, match="SCRIPT_FAILED"):
            call("run_job", "throw 1", "OSIS")
        return [text for _, text in asked if not query(text)]

    eventually("every panel has data", lambda: not silent())


def test_no_alert_of_a_fault_fires_in_peace(prometheus):
    assert prometheus.poll() is None
    assert query('ALERTS{alertstate="firing",severity="critical"}') == []
