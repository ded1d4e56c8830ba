"""The chart as Helm's own engine renders it, without a cluster."""

import pathlib

import helm_python as helm
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "hero"
CASES = sorted((CHART / "ci").glob("*-values.yaml"))
NAMESPACE = "prod"


def values_of(case):
    return yaml.safe_load(case.read_text(encoding="utf-8")) or {}


def render(values, name="demo"):
    """Every manifest of the chart with these values, and the notes."""
    with helm.Chart.load(str(CHART)) as chart:
        files = chart.render(values, name=name, namespace=NAMESPACE)
    notes = [text for path, text in files.items() if path.endswith("NOTES.txt")]
    texts = [text for path, text in files.items() if not path.endswith("NOTES.txt")]
    manifests = [manifest for text in texts for manifest in yaml.safe_load_all(text) if manifest]
    return manifests, notes[0]


def refusal(values):
    """What the chart says to values that it does not take."""
    try:
        render(values)
    except helm.HelmError as error:
        return str(error)
    raise AssertionError(f"these values were taken: {values}")


def of_kind(manifests, *kinds):
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def name(manifest):
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def pods(manifests):
    """Name and template of whatever makes pods, the test's own pod among them."""
    for manifest in of_kind(manifests, "Deployment", "StatefulSet"):
        yield name(manifest), manifest["spec"]["template"]
    for manifest in of_kind(manifests, "Pod"):
        yield name(manifest), manifest


def services_pods(manifests):
    """Those that run one of our services."""
    for workload in of_kind(manifests, "Deployment"):
        yield name(workload), workload["spec"]["template"]


def selects(selector, labels):
    """Whether a label selector of Kubernetes selects a pod with these labels."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    expressions = selector.get("matchExpressions", [])
    assert all(expression["operator"] == "In" for expression in expressions)
    return all(labels.get(expression["key"]) in expression["values"] for expression in expressions)


def deep(base, over):
    """The values `over` laid over `base`."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = deep(merged[key], value) if both else value
    return merged
