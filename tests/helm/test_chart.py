"""The promises of helm/hero, over every case in its ci/ folder: what each pod has, who may reach whom, what is refused."""

import re
import tomllib

import helm_python as helm
import kubernetes_validate
import pytest
import yaml

import readme
from chart import CASES, CHART, NAMESPACE, deep, name, of_kind, pods, refusal, render, selects, services_pods, values_of

# What comes with operators: their schemas are not Kubernetes' own.
FOREIGN = {"ServiceMonitor", "PrometheusRule", "ScaledObject", "TriggerAuthentication", "HTTPRoute"}
SELECTOR = {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}
LABELS = SELECTOR | {
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
    "helm.sh/chart",
}
RENDERED = {case.stem: render(values_of(case)) for case in CASES}
# Each has a user of its own in a bundled Redis.
SERVICES_WITH_REDIS = ("supervisor", "runner", "explorer", "mycelium-bridge", "msgbus-relay")
EVERY_CASE = pytest.mark.parametrize("case", RENDERED)


def manifests_of(case):
    return RENDERED[case][0]


def component(manifest):
    return manifest["metadata"]["labels"]["app.kubernetes.io/component"]


# --- the chart as a whole


def test_helm_has_nothing_to_say_against_it():
    found = helm.lint(str(CHART))
    assert found["errors"] == []


def test_the_five_cases_are_there():
    assert {case.stem for case in CASES} == {
        f"{which}-values" for which in ("default", "external-redis", "auth-off", "everything-on", "launcher-only")
    }


@EVERY_CASE
@pytest.mark.parametrize("version", ["1.27", "1.31", "1.37"])
def test_the_api_takes_every_manifest(case, version):
    checked = 0
    for manifest in manifests_of(case):
        if manifest["kind"] not in FOREIGN:
            kubernetes_validate.validate(manifest, version, strict=True)
            checked += 1
    assert checked > 10


@EVERY_CASE
def test_no_two_manifests_have_one_name(case):
    names = [name(manifest) for manifest in manifests_of(case)]
    assert sorted(set(names)) == sorted(names)


@EVERY_CASE
def test_everything_is_labelled_and_in_the_release(case):
    for manifest in manifests_of(case):
        assert LABELS <= set(manifest["metadata"]["labels"]), name(manifest)
        assert manifest["metadata"]["namespace"] == NAMESPACE
        assert manifest["metadata"]["name"].startswith("demo-hero-"), name(manifest)
        assert len(manifest["metadata"]["name"]) <= 63


def test_the_readme_is_made_from_the_values():
    assert (CHART / "README.md").read_text(encoding="utf-8") == readme.made(), "run: python3 tests/helm/readme.py"


def test_every_value_has_its_line():
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    told = {path for path, _ in readme.comments()}

    def leaves(tree, at=()):
        for key, value in tree.items():
            path = (*at, key)
            if ".".join(path) in told:
                continue
            assert isinstance(value, dict) and value, f"{'.'.join(path)} has no `# --` line"
            yield from leaves(value, path)

    assert list(leaves(values)) == []


# --- every pod


@EVERY_CASE
def test_pods_run_without_any_right_that_they_do_not_need(case):
    for where, pod in pods(manifests_of(case)):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False, where
        assert spec["securityContext"]["runAsNonRoot"] is True, where
        assert spec["securityContext"]["runAsUser"] > 0, where
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, where
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True, where
            assert security["allowPrivilegeEscalation"] is False, where
            assert security["capabilities"] == {"drop": ["ALL"]}, where
        assert not any("hostPath" in volume for volume in spec.get("volumes", [])), where
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), where


@EVERY_CASE
def test_pods_have_limits_and_a_pinned_image(case):
    for where, pod in pods(manifests_of(case)):
        for container in pod["spec"]["containers"]:
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), where
            assert "memory" in container["resources"]["limits"], where
            image = container["image"]
            assert re.search(r"(:[^/:]+|@sha256:[0-9a-f]{64})$", image), image
            assert not image.endswith(":latest"), image


@EVERY_CASE
def test_probes_ask_the_admin_port_and_liveness_depends_on_nobody(case):
    for where, pod in services_pods(manifests_of(case)):
        (container,) = pod["spec"]["containers"]
        for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
            assert container[probe]["httpGet"] == {"path": path, "port": "admin"}, where
        assert "admin" in {port["name"] for port in container["ports"]}, where


@EVERY_CASE
def test_a_pod_has_time_to_drain(case):
    for manifest in of_kind(manifests_of(case), "Deployment"):
        settings = settings_of(manifests_of(case), manifest)
        needed = (settings["drain"]["drain_delay_ms"] + settings["drain"]["grace_ms"]) / 1000 + 5
        assert manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= needed, name(manifest)
        has_callers = not component(manifest).startswith("runner-")
        assert settings["drain"]["drain_delay_ms"] == (5000 if has_callers else 0), name(manifest)


@EVERY_CASE
def test_selectors_are_the_three_labels_and_find_their_own_pods(case):
    for manifest in of_kind(manifests_of(case), "Deployment", "StatefulSet"):
        selector = manifest["spec"]["selector"]["matchLabels"]
        assert set(selector) == SELECTOR
        mine = [
            where
            for where, pod in pods(manifests_of(case))
            if selects({"matchLabels": selector}, pod["metadata"]["labels"])
        ]
        assert mine == [name(manifest)]


@EVERY_CASE
def test_pods_mount_what_exists(case):
    manifests = manifests_of(case)
    made = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests}
    accounts = {manifest["metadata"]["name"] for manifest in of_kind(manifests, "ServiceAccount")}
    for where, pod in pods(manifests):
        spec = pod["spec"]
        assert spec.get("serviceAccountName", "default") in accounts | {"default"}, where
        volumes = {volume["name"] for volume in spec.get("volumes", [])}
        claims = {"data"} if where.startswith("StatefulSet") else set()
        for mount in spec["containers"][0].get("volumeMounts", []):
            assert mount["name"] in volumes | claims, where
        for volume in spec.get("volumes", []):
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in made, where
            secret = volume.get("secret", {}).get("secretName", "")
            if secret.startswith("demo-"):
                assert ("Secret", secret) in made, where


@EVERY_CASE
def test_runners_have_an_account_of_their_own(case):
    accounts = {
        where: pod["spec"]["serviceAccountName"] for where, pod in services_pods(manifests_of(case))
    }
    runners = {account for where, account in accounts.items() if "-runner-" in where}
    others = {account for where, account in accounts.items() if "-runner-" not in where}
    assert runners <= {"demo-hero-runner"} and not runners & others


# --- settings and secrets


def settings_of(manifests, workload):
    """The settings file of a workload's pods, read as the service reads it."""
    (config,) = [volume for volume in workload["spec"]["template"]["spec"]["volumes"] if volume["name"] == "config"]
    (found,) = [
        manifest
        for manifest in of_kind(manifests, "ConfigMap")
        if manifest["metadata"]["name"] == config["configMap"]["name"]
    ]
    return tomllib.loads(found["data"]["config.toml"])


def test_settings_arrive_whole_and_numbers_stay_whole():
    manifests, _ = render(
        {"gateway": {"config": {"limits": {"max_connections": 5000000}, "allowed_origins": ["https://a.b"]}}}
    )
    (gateway,) = [found for found in of_kind(manifests, "Deployment") if component(found) == "gateway"]
    settings = settings_of(manifests, gateway)
    assert settings["limits"]["max_connections"] == 5000000
    assert isinstance(settings["limits"]["max_connections"], int)
    assert settings["allowed_origins"] == ["https://a.b"]
    assert settings["supervisor"] == "tcp://demo-hero-supervisor:8081"


def test_the_bridge_the_explorer_and_the_relay_get_what_their_sections_say():
    manifests = manifests_of("everything-on-values")
    deployments = {component(found): found for found in of_kind(manifests, "Deployment")}
    settings = {which: settings_of(manifests, found) for which, found in deployments.items()}
    supervisor, relay = "tcp://demo-hero-supervisor:8081", settings["msgbus-relay"]
    assert (relay["listen"], relay["grpc_listen"]) == ("tcp://0.0.0.0:8051", "tcp://0.0.0.0:8085")
    assert (relay["twin"], relay["key_type"]) == (7, "ed25519")
    channel = {"token": "file:/etc/hero/internal/token"}
    assert relay["rpc"] == {"supervisor": supervisor, "admin": [1], "user": [8, 9], "channel": channel}
    bridge = settings["mycelium-bridge"]
    assert (bridge["mycelium_url"], bridge["topic"], bridge["supervisor"]) == ("http://10.0.0.9:8990", "hero.rpc", supervisor)
    assert settings["explorer"]["mycelium_bridge"] == "tcp://demo-hero-mycelium-bridge:8084"
    assert settings["explorer"]["tcp"] == "tcp://0.0.0.0:9002"
    gateway = settings["gateway"]
    assert gateway["explorer"] == "tcp://demo-hero-explorer:8083"
    assert gateway["msgbus_relay"] == "tcp://demo-hero-msgbus-relay:8085"
    assert gateway["mycelium_bridge"] == "tcp://demo-hero-mycelium-bridge:8084"
    (twins,) = [found for found in of_kind(manifests, "Service") if name(found).endswith("msgbus-relay-twins")]
    assert twins["spec"]["type"] == "LoadBalancer" and twins["spec"]["ports"][0]["targetPort"] == "http"
    plain = render({})[0]
    (gateway,) = [found for found in of_kind(plain, "Deployment") if component(found) == "gateway"]
    assert not {"explorer", "msgbus_relay", "mycelium_bridge"} & set(settings_of(plain, gateway))


def test_what_scripts_leave_behind_is_reaped():
    for where, pod in services_pods(manifests_of("everything-on-values")):
        assert pod["spec"].get("shareProcessNamespace", False) == ("runner" in where), where


def test_a_change_of_settings_rolls_the_pods_that_have_them():
    def sums(values):
        return {
            component(found): found["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
            for found in of_kind(render(values)[0], "Deployment")
        }

    before, after = sums({}), sums({"gateway": {"config": {"limits": {"max_connections": 7}}}})
    assert {which for which in before if before[which] != after[which]} == {"gateway"}


@EVERY_CASE
def test_secrets_are_mounted_files_and_stand_in_no_configmap(case):
    manifests = manifests_of(case)
    for manifest in of_kind(manifests, "ConfigMap"):
        text = "\n".join(manifest["data"].values())
        assert not re.search(r"redis://[^\s\"]*@", text), name(manifest)
        for line in re.findall(r"^(?:admin|user|register) = .*$", text, re.M):
            listed = tomllib.loads(line).popitem()[1]
            # The relay lists twins, by their numbers.
            assert all(isinstance(item, int) or item.startswith("file:/etc/hero/auth/") for item in listed)
    for secret in of_kind(manifests, "Secret"):
        kept = {**secret.get("data", {}), **secret.get("stringData", {})}
        others = [str(manifest) for manifest in manifests if manifest is not secret]
        for value in kept.values():
            if not value.startswith("redis://redis."):
                assert not any(value in other for other in others), name(secret)


def test_an_existing_secret_is_used_and_none_is_made():
    manifests = manifests_of("external-redis-values")
    # The token of the services among themselves is always the chart's own.
    assert [name(secret) for secret in of_kind(manifests, "Secret")] == ["Secret/demo-hero-internal"]
    (supervisor,) = [found for found in of_kind(manifests, "Deployment") if component(found) == "supervisor"]
    secrets = {
        volume["name"]: volume["secret"]
        for volume in supervisor["spec"]["template"]["spec"]["volumes"]
        if "secret" in volume
    }
    assert secrets["redis"]["secretName"] == "hero-redis-address"
    assert secrets["redis"]["items"] == [{"key": "address", "path": "url"}]
    assert secrets["auth"]["secretName"] == "hero-callers"
    assert {(item["key"], item["path"]) for item in secrets["auth"]["items"]} == {
        ("root", "admin"),
        ("jobs", "user"),
        ("runners", "register"),
    }
    assert set(settings_of(manifests, supervisor)["secrets"]) == {"admin", "user", "register"}


def test_without_a_word_about_secrets_a_random_one_is_made():
    def secret():
        (found,) = [found for found in of_kind(render({})[0], "Secret") if component(found) == "auth"]
        return found["data"]["admin"]

    assert len(secret()) >= 48 and secret() != secret()


def test_without_auth_the_gateway_is_told_so_and_the_notes_warn():
    manifests, notes = RENDERED["auth-off-values"]
    gateway, supervisor = (
        next(found for found in of_kind(manifests, "Deployment") if component(found) == which)
        for which in ("gateway", "supervisor")
    )
    assert settings_of(manifests, gateway)["insecure_no_auth"] is True
    assert "secrets" not in settings_of(manifests, supervisor)
    assert "auth is off" in notes
    assert "auth is off" not in RENDERED["default-values"][1]


# --- who may reach whom


def policy_of(manifests, which):
    (policy,) = [found for found in of_kind(manifests, "NetworkPolicy") if component(found) == which]
    return policy["spec"]


def reached(manifests, which):
    """The components to which a policy lets a component's pods call out, by port."""
    labels = {component({"metadata": pod["metadata"]}): pod["metadata"]["labels"] for _, pod in pods(manifests)}
    edges = set()
    for rule in policy_of(manifests, which)["egress"]:
        for peer in rule.get("to", []):
            for other, of_other in labels.items():
                if "podSelector" in peer and selects(peer["podSelector"], of_other):
                    edges |= {(which, other, port["port"]) for port in rule["ports"]}
    return edges


def let_in(manifests, which):
    """The components from which a policy lets calls in, by port."""
    labels = {component({"metadata": pod["metadata"]}): pod["metadata"]["labels"] for _, pod in pods(manifests)}
    edges = set()
    for rule in policy_of(manifests, which)["ingress"]:
        for peer in rule.get("from", []):
            for other, of_other in labels.items():
                if "podSelector" in peer and selects(peer["podSelector"], of_other):
                    edges |= {(other, which, port["port"]) for port in rule["ports"]}
    return edges


@EVERY_CASE
def test_everything_is_denied_and_every_pod_has_a_policy(case):
    manifests = manifests_of(case)
    deny = policy_of(manifests, "default-deny")
    assert "ingress" not in deny and "egress" not in deny
    assert set(deny["policyTypes"]) == {"Ingress", "Egress"}
    for where, pod in pods(manifests):
        assert selects(deny["podSelector"], pod["metadata"]["labels"]), where
        own = policy_of(manifests, pod["metadata"]["labels"]["app.kubernetes.io/component"])
        assert selects(own["podSelector"], pod["metadata"]["labels"]), where


@EVERY_CASE
def test_what_one_policy_lets_out_another_lets_in(case):
    manifests = manifests_of(case)
    components = [pod["metadata"]["labels"]["app.kubernetes.io/component"] for _, pod in pods(manifests)]
    out = {edge for which in components for edge in reached(manifests, which)}
    into = {edge for which in components for edge in let_in(manifests, which)}
    front = {edge for edge in out if edge[0] == "test"}
    assert out - front == into
    # The gateway is open to whoever is let in by `networkPolicy.gatewayFrom`, to the test, too.
    assert {edge[1] for edge in front} <= {"gateway", "launcher"}


def test_runners_reach_redis_and_nothing_else():
    manifests, _ = render({})
    for pool in ("runner-osis", "runner-python"):
        assert reached(manifests, pool) == {(pool, "redis", 6379)}
        for rule in policy_of(manifests, pool)["egress"]:
            ports = {port["port"] for port in rule["ports"]}
            assert ports in ({53}, {6379})
            assert ports == {53} or rule["to"], "Redis is named by its pods"
    assert not any(edge[2] == 6379 for edge in reached(manifests, "gateway"))


def test_dns_is_open_on_both_protocols():
    for manifest in of_kind(manifests_of("default-values"), "NetworkPolicy"):
        for rule in manifest["spec"].get("egress", []):
            protocols = {port["protocol"] for port in rule["ports"] if port["port"] == 53}
            assert protocols in (set(), {"UDP", "TCP"})


def test_only_the_monitoring_namespace_reaches_admin_ports():
    for case in RENDERED:
        for manifest in of_kind(manifests_of(case), "NetworkPolicy"):
            for rule in manifest["spec"].get("ingress", []):
                if any(port["port"] == "admin" for port in rule["ports"]):
                    (scraper, *kubelets) = rule["from"]
                    wanted = {"kubernetes.io/metadata.name": "monitoring"}
                    assert scraper["namespaceSelector"]["matchLabels"] == wanted
                    assert all("ipBlock" in kubelet for kubelet in kubelets)


def test_policies_can_be_turned_off_and_the_notes_warn():
    manifests, notes = render({"networkPolicy": {"enabled": False}})
    assert of_kind(manifests, "NetworkPolicy") == []
    assert "network policies are off" in notes


# --- scaling, disruption, services


@EVERY_CASE
def test_what_is_scaled_has_no_replicas_of_its_own(case):
    manifests = manifests_of(case)
    scaled = {
        found["spec"]["scaleTargetRef"]["name"]
        for found in of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject")
    }
    for found in of_kind(manifests, "Deployment"):
        assert ("replicas" in found["spec"]) == (found["metadata"]["name"] not in scaled)
    if case == "everything-on-values":
        assert scaled == {f"demo-hero-{which}" for which in ("gateway", "supervisor", "runner-osis", "runner-python")}


@EVERY_CASE
def test_a_disruption_budget_for_what_has_more_than_one_pod(case):
    manifests = manifests_of(case)
    budgets = {found["metadata"]["name"]: found["spec"] for found in of_kind(manifests, "PodDisruptionBudget")}
    for found in of_kind(manifests, "Deployment"):
        more = found["spec"].get("replicas", 2) > 1
        assert (found["metadata"]["name"] in budgets) == more, name(found)
    for budget in budgets.values():
        assert budget["maxUnavailable"] == 1 and "minAvailable" not in budget
    assert "demo-hero-redis" not in budgets


def test_keda_looks_at_the_queues_of_the_pools_types():
    manifests = manifests_of("external-redis-values")
    scaled = {found["metadata"]["name"]: found for found in of_kind(manifests, "ScaledObject")}
    assert set(scaled) == {"demo-hero-runner-osis", "demo-hero-runner-python"}
    triggers = scaled["demo-hero-runner-python"]["spec"]["triggers"]
    assert [trigger["metadata"]["listName"] for trigger in triggers] == [
        "hero:q:work:type:python",
        "hero:q:work:type:python:high",
        "hero:q:work:type:python:low",
    ]
    assert {trigger["metadata"]["address"] for trigger in triggers} == {"redis.example.org:6380"}
    assert scaled["demo-hero-runner-python"]["spec"]["minReplicaCount"] == 0
    references = {found["metadata"]["name"]: found for found in of_kind(manifests, "TriggerAuthentication")}
    for trigger in triggers:
        (target,) = references[trigger["authenticationRef"]["name"]]["spec"]["secretTargetRef"]
        assert target == {"parameter": "password", "name": "hero-redis-address", "key": "password"}


@EVERY_CASE
def test_grpc_services_are_headless_and_no_service_but_the_monitors_shows_an_admin_port(case):
    for service in of_kind(manifests_of(case), "Service"):
        ports = {port["name"] for port in service["spec"]["ports"]}
        if "grpc" in ports:
            assert service["spec"]["clusterIP"] == "None", name(service)
        assert ("admin" in ports) == (component(service) == "metrics"), name(service)


def test_the_monitor_finds_the_admin_port_of_every_service():
    manifests = manifests_of("everything-on-values")
    (monitor,) = of_kind(manifests, "ServiceMonitor")
    (service,) = [found for found in of_kind(manifests, "Service") if component(found) == "metrics"]
    assert selects(monitor["spec"]["selector"], service["metadata"]["labels"])
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"] == "admin"
    assert monitor["spec"]["endpoints"][0]["path"] == "/metrics"
    for where, pod in services_pods(manifests):
        assert selects({"matchLabels": service["spec"]["selector"]}, pod["metadata"]["labels"]), where
    assert of_kind(manifests_of("default-values"), "ServiceMonitor", "PrometheusRule") == []


def test_the_way_in_leads_to_the_gateway():
    manifests = manifests_of("everything-on-values")
    (ingress,) = of_kind(manifests, "Ingress")
    (path,) = ingress["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"]["service"] == {"name": "demo-hero-gateway", "port": {"name": "http"}}
    assert int(ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-read-timeout"]) >= 3600
    (route,) = of_kind(manifests, "HTTPRoute")
    assert route["spec"]["rules"][0]["backendRefs"] == [{"name": "demo-hero-gateway", "port": 80}]
    assert route["spec"]["rules"][0]["timeouts"] == {"request": "0s"}


def test_a_digest_wins_over_the_tag():
    images = {
        component({"metadata": pod["metadata"]}): pod["spec"]["containers"][0]["image"]
        for _, pod in services_pods(manifests_of("everything-on-values"))
    }
    assert images["gateway"] == "registry.example.org/hero-gateway@sha256:" + "0123456789abcdef" * 4
    assert images["supervisor"] == "registry.example.org/hero-supervisor:1.2.3"
    assert images["runner-python"] == "registry.example.org/hero-runner-python:1.2.3"


def test_the_bundled_redis_keeps_what_it_acknowledged():
    manifests = manifests_of("default-values")
    (config,) = [found for found in of_kind(manifests, "ConfigMap") if component(found) == "redis"]
    lines = config["data"]["redis.conf"].splitlines()
    assert {"appendonly yes", "maxmemory-policy noeviction"} <= set(lines)
    (redis,) = of_kind(manifests, "StatefulSet")
    assert redis["spec"]["volumeClaimTemplates"][0]["metadata"]["name"] == "data"


def test_each_service_is_a_user_of_its_own_in_the_bundled_redis():
    manifests = manifests_of("default-values")
    (secret,) = [found for found in of_kind(manifests, "Secret") if component(found) == "redis"]
    kept = secret["stringData"]
    users = {line.split()[1]: line for line in kept["auth.conf"].splitlines() if line.startswith("user ")}
    assert set(users) == {f"hero-{service}" for service in SERVICES_WITH_REDIS}
    for service in SERVICES_WITH_REDIS:
        password = kept[f"password-{service}"]
        assert len(password) == 40 and f" >{password} " in users[f"hero-{service}"]
        assert kept[f"url-{service}"].startswith(f"redis://hero-{service}:{password}@")
    assert kept["auth.conf"].splitlines()[0] == f"requirepass {kept['password']}"
    for pod in of_kind(manifests, "Deployment"):
        for volume in pod["spec"]["template"]["spec"]["volumes"]:
            if volume["name"] == "redis":
                (item,) = volume["secret"]["items"]
                service = "runner" if component(pod).startswith("runner-") else component(pod)
                assert item == {"key": f"url-{service}", "path": "url"}


# --- refusals


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"gatway": {"enabled": True}}, "additional properties 'gatway' not allowed"),
        ({"gateway": {"replica": 2}}, "'replica' not allowed"),
        ({"gateway": {"service": {"prot": 80}}}, "'prot' not allowed"),
        ({"defaults": {"probes": {"live": {}}}}, "'live' not allowed"),
        ({"runner": {"pools": {"python": {"slots": 3}}}}, "slots"),
        ({"runner": {"pools": {"python": {"scriptTypes": ["Perl"]}}}}, "scriptTypes"),
        ({"image": {"tag": "latest"}}, "/image/tag"),
        ({"gateway": {"digest": "sha256:12"}}, "/gateway/digest"),
        ({"gateway": {"replicas": "two"}}, "got string, want integer"),
        ({"telemetry": {"sampleRatio": 2}}, "/telemetry/sampleRatio"),
        ({"circles": ["not-a-key"]}, "/circles/0"),
        ({"explorer": {"tcp": {"nodeCidrs": ["10.0.0.1"]}}}, "/explorer/tcp/nodeCidrs/0"),
        ({"redis": {"url": "http://redis"}}, "/redis/url"),
        ({"redis": {"url": "redis://redis:6379"}}, "name one Redis"),
        ({"redis": {"bundled": {"enabled": False}}}, "name one Redis"),
        ({"redis": {"bundled": {"enabled": False}, "url": "redis://:secret@redis:6379"}}, "has a password in it"),
        ({"launcher": {"enabled": True}}, "set gateway.enabled=false"),
        ({"supervisor": {"enabled": False}}, "a gateway needs supervisors"),
        ({"runner": {"autoscaling": {"enabled": True}, "keda": {"enabled": True}}}, "exclude each other"),
        ({"gateway": {"terminationGracePeriodSeconds": 20}}, "must be at least 30"),
        ({"defaults": {"drain": {"graceMs": 60000}}}, "terminationGracePeriodSeconds must be at least 70"),
        ({"myceliumBridge": {"enabled": True}}, "set myceliumBridge.myceliumUrl"),
        ({"msgbusRelay": {"enabled": True}}, "needs twin, substrate"),
        (
            {"msgbusRelay": {"enabled": True, "twin": 1, "substrate": "file:/a", "existingSecret": "a", "replicas": 2}},
            "one relay for each Redis",
        ),
        (
            {"redis": {"bundled": {"enabled": False}, "existingSecret": "a"}, "runner": {"keda": {"enabled": True}}},
            "set redis.keda.address",
        ),
    ],
)
def test_what_cannot_work_is_refused_in_words(values, words):
    assert words in refusal(values)


def test_the_schema_is_closed_at_every_level_that_is_ours():
    """Puts a misspelt key into every object of the default values that the chart owns."""
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    # What Kubernetes or the user owns is theirs to fill.
    free = {"resources", "podSecurityContext", "securityContext", "config", "annotations", "labels", "nodeSelector",
            "affinity", "podAnnotations", "podLabels", "commonLabels", "resourceAttributes", "pools"}  # fmt: skip
    checked = 0

    def walk(tree, path):
        nonlocal checked
        bad = {"misspelt": 1}
        for key in reversed(path):
            bad = {key: bad}
        assert "misspelt" in refusal(deep(values, bad)), ".".join(path)
        checked += 1
        for key, value in tree.items():
            if isinstance(value, dict) and key not in free:
                walk(value, [*path, key])

    walk(values, [])
    assert checked > 40
