"""Every metric by its names, read from crates/telemetry/src: what docs/metrics.md is made from, and what alerts and
dashboards may ask for. `python3 tests/observability/catalogue.py` writes the page."""

import dataclasses
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = ROOT / "crates" / "telemetry" / "src"
PAGE = ROOT / "docs" / "metrics.md"
SUFFIXES = {"s": "_seconds", "By": "_bytes"}

HEAD = """# Metrics

Made from [names.rs](../crates/telemetry/src/names.rs) by `python3 tests/observability/catalogue.py`; a test keeps it so.

Every process shows its own at `/metrics` of its admin port, for Prometheus, and pushes the same over OTLP when
`telemetry.otlp_endpoint` is set. What a service does not use does not show up there. No metric has an id, a script, a key or
an address as an attribute: the number of series is bounded by the number of methods, script types and reasons.

Alerts are in [prometheus-rules.yml](../helm/hero/files/prometheus-rules.yml), dashboards in
[deploy/grafana](../deploy/grafana/dashboards).

| OpenTelemetry | Prometheus | kind | what |
|---|---|---|---|
"""

TAIL = """
A histogram also has `_bucket`, `_sum` and `_count`. Its buckets go from 5 ms to 300 s.

## Attributes

| attribute | Prometheus | what |
|---|---|---|
"""


@dataclasses.dataclass(frozen=True)
class Metric:
    name: str
    kind: str
    unit: str
    about: str

    @property
    def prometheus(self):
        suffix = SUFFIXES.get(self.unit, "") + ("_total" if self.kind == "counter" else "")
        return self.name.replace(".", "_") + suffix

    @property
    def series(self):
        """The names that a query may use."""
        if self.kind == "histogram":
            return {self.prometheus + part for part in ("_bucket", "_sum", "_count")}
        return {self.prometheus}


def constants():
    """Constant, value, the words above it, and the heading under which it stands."""
    heading, words = "", []
    for line in (SOURCE / "names.rs").read_text(encoding="utf-8").splitlines():
        if line.startswith("// "):
            heading, words = line[3:], []
        elif line.startswith("/// "):
            words.append(line[4:])
        elif found := re.match(r'pub const (\w+): &str = "(.*)";', line):
            yield found[1], found[2], " ".join(words), heading
            words = []


def metrics():
    made = (SOURCE / "metrics.rs").read_text(encoding="utf-8")
    process = (SOURCE / "process.rs").read_text(encoding="utf-8")
    for constant, name, about, heading in constants():
        if heading != "Metrics":
            continue
        found = re.search(rf'(\w+)\(\s*names::{constant},\s*(?:"([^"]*)",)?\s*"', made)
        if found:
            maker, unit = found[1], found[2] or ""
            kind = {"seconds": "histogram", "counter": "counter", "gauge": "gauge", "up_down": "gauge"}[maker]
            yield Metric(name, kind, "s" if maker == "seconds" else unit, about)
        else:
            assert f"names::{constant}" in process, f"nothing makes {constant}"
            kind, unit = {"PROCESS_CPU": ("counter", "s"), "PROCESS_MEMORY": ("gauge", "By")}.get(constant, ("gauge", ""))
            yield Metric(name, kind, unit, about)


def attributes():
    for constant, name, about, heading in constants():
        if heading == "Attributes" and constant != "OTHER":
            yield name, about


def link(text):
    return re.sub(r"\[`(\w+)`\]", lambda found: f"`{dict((c, v) for c, v, _, _ in constants())[found[1]]}`", text)


def made():
    rows = "".join(
        f"| `{metric.name}` | `{metric.prometheus}` | {metric.kind} | {metric.about} |\n" for metric in metrics()
    )
    labels = "".join(f"| `{name}` | `{name.replace('.', '_')}` | {link(about)} |\n" for name, about in attributes())
    return HEAD + rows + TAIL + labels


if __name__ == "__main__":
    PAGE.write_text(made(), encoding="utf-8")
