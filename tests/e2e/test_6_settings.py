"""The settings that the chart makes, read by the very services: an unknown key would end them with 64; and the units
for a bare machine, read by systemd."""

import shutil
import sys

import pytest

from stack import ROOT, run

sys.path.append(str(ROOT / "tests" / "helm"))

from chart import CASES, of_kind, render, values_of  # noqa: E402

SECRETS = {"redis/url": "redis://:secret@redis:6379/0", "msgbus/mnemonics": "0x" + "07" * 32}
SECRETS["internal/token"] = "token-of-the-services"
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
    if "everything" in case.stem:
        assert checked >= 8


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
def test_systemd_takes_the_units(tmp_path):
    images = ROOT / "target" / "images"
    units = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
    assert len(units) == 6
    for unit in units:
        # With the binaries where they are here.
        text = unit.read_text(encoding="utf-8").replace("=/usr/bin/hero-", f"={images}/")
        text = text.replace("ExecStart=msgbusd ", f"ExecStart={images}/msgbus-relay ")
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    told = run("systemd-analyze", "verify", *[str(tmp_path / unit.name) for unit in units], check=False)
    assert not [line for line in told.splitlines() if any(unit.name in line for unit in units)], told
