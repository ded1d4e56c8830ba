"""helm/hero/README.md, made from the `# --` lines of values.yaml. `python3 tests/helm/readme.py` writes it."""

import json
import re

import yaml

from chart import CHART

HEAD = """# hero

The chart of Hero: gateway, supervisor and runners, and when they are switched on the explorer, the Mycelium bridge and the
message bus relay; or everything in one process (`launcher.enabled`). [docs/operations.md](../../docs/operations.md) says how
to size, upgrade, back up and scale it.

```sh
helm install hero helm/hero --set image.registry=registry.example.org
helm test hero
```

A bundled Redis is on for trials. In production name one that is looked after, by secret:

```yaml
redis:
  bundled: {enabled: false}
  existingSecret: hero-redis        # its key `url`: redis://user:password@host:6379/0
auth:
  existingSecret: hero-callers      # its key `admin`
```

A component's section may hold everything that `defaults` holds; `config` in it takes the service's own settings, as its
`config.example.toml` shows them. Values files for whole cases are in [ci/](ci).

| value | default | what |
|---|---|---|
"""


def comments():
    """The path of every key that has a comment, and the comment."""
    path, comment = [], None
    for line in (CHART / "values.yaml").read_text(encoding="utf-8").splitlines():
        said = re.match(r"\s*# -- (.*)", line)
        key = re.match(r"( *)([A-Za-z]+):", line)
        if said:
            comment = said[1]
        elif key:
            path = path[: len(key[1]) // 2] + [key[2]]
            if comment:
                yield ".".join(path), comment
            comment = None


def at(values, path):
    for key in path.split("."):
        values = values[key]
    return values


def made():
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    rows = [f"| `{path}` | `{json.dumps(at(values, path), ensure_ascii=False)}` | {words} |" for path, words in comments()]
    return HEAD + "\n".join(rows).replace("`\"\"`", "") + "\n"


if __name__ == "__main__":
    (CHART / "README.md").write_text(made(), encoding="utf-8")
