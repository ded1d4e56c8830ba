"""The settings that the chart makes, read by the very services: an unknown key would end them with 64."""

import sys

import pytest

from stack import ROOT, run

sys.path.append(str(ROOT / "tests" / "helm"))

from chart import CASES, of_kind, render, values_of  # noqa: E402

SECRETS = {"redis/url": "redis://:secret@redis:6379/0", "msgbus/mnemonics": "0x" + "07" * 32}
SECRETS |= {f"auth/{scope}": f"{scope}-secret-of-some-length" for scope in ("admin", "user", "register")}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_the_services_take_the_settings_of_the_chart(case, tmp_path):
    for name, secret in SECRETS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(secret, encoding="utf-8")
    checked = 0
    manifests, _ = render(values_of(case))
    for config in of_kind(manifests, "ConfigMap"):
        component = config["metadata"]["labels"]["app.kubernetes.io/component"]
        binary = ROOT / "target" / "images" / ("runner" if component.startswith("runner-") else component)
        if "config.toml" not in config["data"] or not binary.exists():
            continue
        settings = tmp_path / f"{component}.toml"
        settings.write_text(config["data"]["config.toml"].replace("/etc/hero/", f"{tmp_path}/"), encoding="utf-8")
        assert run(str(binary), "--config", str(settings), "--check-config") == "the configuration can be used"
        checked += 1
    assert checked >= (1 if "launcher" in case.stem else 4)
