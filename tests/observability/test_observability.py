"""What is shown and alerted on exists: alerts, dashboards and docs/metrics.md against the names in the code."""

import importlib.util
import json
import re
import shutil
import subprocess

import pytest
import yaml

import catalogue
from catalogue import PAGE, ROOT

RULES = ROOT / "helm" / "hero" / "files" / "prometheus-rules.yml"
BOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
# What Prometheus itself makes.
ITS_OWN = {"up"}


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]


def queries():
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for board in BOARDS:
        for panel in json.loads(board.read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                yield f"{board.stem}: {panel['title']}", target["expr"]


def names_in(query):
    """The metrics and the labels that a query names."""
    text = re.sub(r'"[^"]*"', '""', query)
    labels = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)\s*\"", text))
    for listed in re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", text):
        labels |= {label.strip() for label in listed.split(",")}
    text = re.sub(r"\b(?:by|on|without|ignoring)\s*\([^)]*\)|\{[^}]*\}|\[[^\]]*\]", " ", text)
    metrics = {
        name for name in re.findall(r"[a-zA-Z_][\w:]*(?!\w*\s*\()", text) if name not in {"unless", "and", "or"}
    }
    called = set(re.findall(r"([a-z_]+)\s*\(", text))
    return {name for name in metrics if not any(call.startswith(name) for call in called)}, labels


@pytest.mark.parametrize(("where", "query"), list(queries()))
def test_a_query_names_metrics_and_labels_that_exist(where, query):
    series = {name for metric in catalogue.metrics() for name in metric.series}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    known_labels = {name.replace(".", "_") for name, _ in catalogue.attributes()} | {"job", "instance", "le"}
    metrics, labels = names_in(query)
    assert metrics, where
    assert metrics <= series | recorded | ITS_OWN, f"{where}: {metrics - series - recorded - ITS_OWN}"
    assert labels <= known_labels, f"{where}: {labels - known_labels}"


def test_a_name_that_does_not_exist_would_be_found():
    metrics, labels = names_in('histogram_quantile(0.5, sum by (le, nobody) (rate(hero_nothing_bucket{job="a"}[5m])))')
    assert metrics == {"hero_nothing_bucket"} and labels == {"le", "nobody", "job"}


def test_alerts_say_what_to_do():
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len(alerts) > 8
    for alert in alerts:
        assert {"summary", "action"} <= set(alert["annotations"]), alert["alert"]
        assert alert["labels"]["severity"] in {"warning", "critical"}


def test_the_page_of_metrics_is_made_from_the_names():
    assert PAGE.read_text(encoding="utf-8") == catalogue.made(), "run: python3 tests/observability/catalogue.py"
    assert len(list(catalogue.metrics())) > 15


def test_every_metric_is_recorded_by_somebody():
    made = (ROOT / "crates" / "telemetry" / "src" / "metrics.rs").read_text(encoding="utf-8")
    code = [
        path.read_text(encoding="utf-8")
        for top in ("crates", "services")
        for path in (ROOT / top).rglob("src/**/*.rs")
        if path.name != "metrics.rs"
    ]
    fields = re.findall(r"^    pub (\w+): (?:Counter|Gauge|Histogram|UpDownCounter),", made, re.MULTILINE)
    assert len(fields) > 10
    for field in fields:
        assert any(re.search(rf"\b{field}\b", text) for text in code), f"{field} is declared and never recorded"


def test_the_dashboards_are_made_from_their_list():
    spec = importlib.util.spec_from_file_location("make", ROOT / "deploy" / "grafana" / "make.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    assert {board.stem: board.read_text(encoding="utf-8") for board in BOARDS} == dict(make.made())


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool comes with Debian's prometheus")
def test_prometheus_takes_the_rules():
    done = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
