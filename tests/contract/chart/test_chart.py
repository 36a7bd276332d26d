"""helm/spawnai: the same objects as kustomize by default, and what each switch changes."""

import json
import re
import subprocess
import sys

import pytest
import yaml
from tests.contract.chart.conftest import CHART, HelmError, by_kind_and_name

from spawnai.app_runtime.archives import CADDY_VERSION
from spawnai_local import toolchain
from spawnai_local.compat import oldest_version
from spawnai_local.paths import checkout

DEPLOYMENT = ("Deployment", "spawnai-operator")
# What only a chart has: hooks, and the marks of a release.
HOOKS = {"Job", "Pod"}


def is_hook(document) -> bool:
    return "helm.sh/hook" in document["metadata"].get("annotations", {})


def without_labels(document):
    """The object without what a release adds: labels, and the mark of a kept definition."""
    metadata = dict(document["metadata"])
    metadata.pop("labels", None)
    annotations = dict(metadata.pop("annotations", {}))
    annotations.pop("helm.sh/resource-policy", None)
    if annotations:
        metadata["annotations"] = annotations
    return {**document, "metadata": metadata}


def kustomize(folder: str):
    text = subprocess.run(
        [toolchain.kubectl(), "kustomize", checkout() / folder],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    # Helm makes the namespace itself.
    return {key: one for key, one in by_kind_and_name(text).items() if key[0] != "Namespace"}


@pytest.fixture(scope="module")
def kustomized():
    return kustomize("manifests")


def test_the_defaults_install_what_kustomize_installs(render, kustomized):
    charted = {key: one for key, one in render().items() if not is_hook(one)}
    assert set(charted) == set(kustomized)
    for key, document in kustomized.items():
        assert without_labels(charted[key]) == without_labels(document), key


# Parts whose manifests are there; a part that gets a folder of its own is found by itself.
PARTS = [
    part
    for part in ("console", "gateway", "inspector")
    if (checkout() / "manifests" / part / "kustomization.yaml").is_file()
]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_switched_on_is_what_its_folder_installs(render, part):
    charted = render(f'{part}={{"enabled": true}}')
    added = {key: charted[key] for key in charted.keys() - render().keys()}
    wanted = kustomize(f"manifests/{part}")
    assert set(added) == set(wanted)
    for key, document in wanted.items():
        assert without_labels(added[key]) == without_labels(document), key


@pytest.mark.parametrize("part", PARTS)
def test_a_part_takes_the_settings_of_the_operator(render, part):
    settings = {"enabled": True, "replicaCount": 3, "nodeSelector": {"pool": "infra"}}
    charted = render(f"{part}={json.dumps(settings)}", 'image={"tag": "other"}')
    spec = charted["Deployment", f"spawnai-{part}"]["spec"]
    assert spec["replicas"] == 3
    assert spec["template"]["spec"]["nodeSelector"] == {"pool": "infra"}
    image = "spawnai-inspector" if part == "inspector" else "spawnai-operator"
    assert f"{image}:other" in json.dumps(spec)


def test_the_operator_is_told_where_the_inspector_is(render):
    def variables(*values):
        [container] = render(*values)[DEPLOYMENT]["spec"]["template"]["spec"]["containers"]
        return {one["name"]: one.get("value") for one in container["env"]}

    name = "SPAWNAI_INSPECTOR_URL"
    assert name not in variables()
    charted = render('inspector={"enabled": true}')
    assert variables('inspector={"enabled": true}')[name] == "http://spawnai-inspector"
    assert ("Service", "spawnai-inspector") in charted


def test_labels_that_mean_something_are_kept(render, kustomized):
    charted = render()
    for key, document in kustomized.items():
        labels = document["metadata"].get("labels", {})
        assert labels.items() <= charted[key]["metadata"]["labels"].items(), key


def test_another_namespace_and_account_reach_every_object(render):
    charted = render('serviceAccount={"name": "someone"}', namespace="elsewhere")
    assert "spawnai-system" not in json.dumps(list(charted.values()))
    pod = charted[DEPLOYMENT]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "someone"
    assert ("ServiceAccount", "someone") in charted
    for (kind, name), one in charted.items():
        if kind.endswith("RoleBinding") and name == "spawnai-operator":
            assert [(s["name"], s["namespace"]) for s in one["subjects"]] == [
                ("someone", "elsewhere")
            ]


@pytest.mark.parametrize(
    "typo",
    [
        "replicas=2",
        'operator={"replicacount": 2}',
        'image={"tag": 1}',
        'image={"digest": "latest"}',
        'prometheusRule={"alerts": {"Some": {"severty": "page"}}}',
    ],
)
def test_a_value_that_the_chart_does_not_know_is_refused(render, typo):
    with pytest.raises(HelmError, match="values don't meet the specifications of the schema"):
        render(typo)


def test_a_parent_chart_may_hand_down_global_values(render):
    assert render('global={"imageRegistry": "registry.example.com"}') == render()


def test_a_digest_wins_over_a_tag(render):
    digest = "sha256:" + "0" * 64
    charted = render(
        f'image={{"repository": "registry.example.com/spawnai", "tag": "x", "digest": "{digest}"}}'
    )
    images = re.findall(r'"image": "([^"]+)"', json.dumps(list(charted.values())))
    assert set(images) == {f"registry.example.com/spawnai@{digest}"}


def test_the_deployment_takes_what_the_values_say(render):
    deployment = render(
        'imagePullSecrets=[{"name": "registry"}]',
        'commonLabels={"team": "platform"}',
        "operator="
        + json.dumps(
            {
                "replicaCount": 2,
                "env": {"SPAWNAI_NAMESPACE": "forced", "SPAWNAI_LOG_LEVEL": "debug"},
                "extraArgs": ["--something"],
                "priorityClassName": "system-cluster-critical",
                "nodeSelector": {"pool": "infra"},
                "tolerations": [{"operator": "Exists"}],
                "affinity": {"nodeAffinity": {}},
                "topologySpreadConstraints": [{"maxSkew": 1}],
                "resources": {"limits": {"memory": "1Gi"}},
                "podLabels": {"a": "b"},
                "podAnnotations": {"c": "d"},
                "annotations": {"e": "f"},
                "podSecurityContext": {"fsGroup": 65532},
                "securityContext": {"privileged": False},
                "extraVolumes": [{"name": "ca", "emptyDir": {}}],
                "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
            }
        ),
    )[DEPLOYMENT]
    assert deployment["spec"]["replicas"] == 2
    assert deployment["metadata"]["annotations"] == {"e": "f"}
    assert deployment["metadata"]["labels"]["team"] == "platform"
    template = deployment["spec"]["template"]
    assert {"a": "b", "team": "platform"}.items() <= template["metadata"]["labels"].items()
    assert template["metadata"]["annotations"] == {"c": "d"}
    pod = template["spec"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["priorityClassName"] == "system-cluster-critical"
    assert pod["nodeSelector"] == {"pool": "infra"}
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["affinity"] == {"nodeAffinity": {}}
    assert pod["topologySpreadConstraints"] == [{"maxSkew": 1}]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["fsGroup"] == 65532
    (container,) = pod["containers"]
    assert container["args"] == ["run", "--something"]
    assert container["resources"] == {"limits": {"memory": "1Gi"}}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["privileged"] is False
    assert {"name": "ca", "mountPath": "/ca"} in container["volumeMounts"]
    assert {"name": "ca", "emptyDir": {}} in pod["volumes"]
    values = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert values["SPAWNAI_NAMESPACE"] == "forced"
    assert values["SPAWNAI_LOG_LEVEL"] == "debug"
    assert len(values) == len(container["env"]), "server-side apply refuses a name given twice"
    # A selector is immutable: no value reaches it.
    assert deployment["spec"]["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": "spawnai",
        "app.kubernetes.io/component": "operator",
    }


def test_a_variable_given_twice_is_refused(render):
    with pytest.raises(HelmError, match="A is given twice"):
        render('operator={"env": {"A": "1"}, "extraEnv": [{"name": "A", "value": "2"}]}')


def test_a_disruption_budget_is_made_for_more_than_one_replica(render):
    assert ("PodDisruptionBudget", "spawnai-operator") not in render()
    budget = render('operator={"replicaCount": 2}')["PodDisruptionBudget", "spawnai-operator"]
    assert budget["spec"]["maxUnavailable"] == 1


@pytest.mark.parametrize(
    ("value", "kinds"),
    [
        ('crds={"enabled": false}', {"CustomResourceDefinition"}),
        (
            'rbac={"create": false}',
            {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"},
        ),
        ('networkPolicy={"enabled": false}', {"NetworkPolicy"}),
        ('serviceAccount={"create": false, "name": "theirs"}', {"ServiceAccount"}),
    ],
)
def test_what_is_switched_off_is_not_installed(render, value, kinds):
    left = {key for key, one in render(value).items() if not is_hook(one)}
    whole = {key for key, one in render().items() if not is_hook(one)}
    assert left == {key for key in whole if key[0] not in kinds}


def test_admission_policies_can_be_switched_off(render):
    kinds = {kind for kind, _ in render('admissionPolicies={"enabled": false}')}
    assert not [kind for kind in kinds if "AdmissionPolicy" in kind]


def test_users_are_stamped_where_it_is_asked_for_and_served(render):
    asked, wanted = 'userStamp={"enabled": true}', kustomize("manifests/user-stamp")
    charted = render(asked, more=("--kube-version", "1.36.0"))
    older = render(asked, more=("--kube-version", "1.35.0"))
    assert set(charted) - set(older) == set(wanted)
    for key, document in wanted.items():
        assert without_labels(charted[key]) == without_labels(document), key


def test_roles_need_not_join_the_clusters_own(render):
    whole, bare = render(), render('rbac={"aggregateClusterRoles": false}')
    mark = "rbac.authorization.k8s.io/aggregate-to-"
    assert mark in json.dumps(list(whole.values()))
    assert mark not in json.dumps(list(bare.values()))


def test_definitions_are_kept_unless_said_otherwise(render):
    def keeps(charted) -> set[str | None]:
        return {
            one["metadata"].get("annotations", {}).get("helm.sh/resource-policy")
            for (kind, _), one in charted.items()
            if kind == "CustomResourceDefinition"
        }

    assert keeps(render()) == {"keep"}
    assert keeps(render('crds={"keep": false}')) == {None}


def test_credentials_come_from_a_secret_unless_given(render):
    secret = ("Secret", "spawnai-credentials")
    assert secret not in render()
    made = render(
        'credentials={"create": true, "digitaloceanToken": "one", "anthropicApiKey": "two"}'
    )[secret]
    assert made["stringData"] == {"digitalocean-token": "one", "anthropic-api-key": "two"}
    with pytest.raises(HelmError, match="digitaloceanToken is needed"):
        render('credentials={"create": true}')


def test_the_default_class_is_made_by_a_hook_first_and_kept(render):
    value = 'defaultClass={"enabled": true, "spec": {"lifetime": {"max": "8h"}}}'
    first = render(value)["SpawnClass", "standard"]
    later = render(value, more=("--is-upgrade",))["SpawnClass", "standard"]
    assert first["spec"] == later["spec"]
    assert first["spec"] == {
        "credentials": {"secretName": "spawnai-credentials"},
        "lifetime": {"max": "8h"},
    }
    assert first["metadata"]["annotations"]["helm.sh/hook"] == "post-install"
    assert "helm.sh/hook" not in later["metadata"]["annotations"]
    assert later["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


@pytest.mark.parametrize(
    ("value", "kind", "endpoints"),
    [
        ("serviceMonitor", "ServiceMonitor", "endpoints"),
        ("podMonitor", "PodMonitor", "podMetricsEndpoints"),
    ],
)
def test_prometheus_operator_is_told_where_the_metrics_are(render, value, kind, endpoints):
    assert (kind, "spawnai-operator") not in render()
    settings = {"enabled": True, "interval": "15s", "additionalLabels": {"release": "prometheus"}}
    monitor = render(f"metrics={json.dumps({value: settings})}")[kind, "spawnai-operator"]
    (endpoint,) = monitor["spec"][endpoints]
    assert (endpoint["port"], endpoint["path"], endpoint["interval"]) == ("http", "/metrics", "15s")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    service = render()["Service", "spawnai-operator"]
    assert (
        monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    )


def alerts_of(charted):
    groups = charted["PrometheusRule", "spawnai-operator"]["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_the_rules_are_those_of_the_repository_with_the_changes_asked_for(render):
    assert not [kind for kind, _ in render() if kind == "PrometheusRule"]
    source = yaml.safe_load((checkout() / "rules" / "spawnai.yaml").read_text())["groups"]
    plain = render('prometheusRule={"enabled": true}')["PrometheusRule", "spawnai-operator"]
    assert plain["spec"]["groups"] == source
    changes = {
        "SpawnAIQueueStuck": {"for": "9m", "severity": "warning", "threshold": "120"},
        "SpawnAIDown": {"enabled": False},
    }
    settings = {
        "enabled": True,
        "runbookBaseUrl": "https://runbooks.example.com/",
        "alerts": changes,
        "extraGroups": [{"name": "mine", "rules": [{"alert": "Mine", "expr": "1"}]}],
        "additionalLabels": {"release": "prometheus"},
    }
    charted = render(f"prometheusRule={json.dumps(settings)}")
    labels = charted["PrometheusRule", "spawnai-operator"]["metadata"]["labels"]
    assert labels["release"] == "prometheus"
    alerts = {rule["alert"]: rule for rule in alerts_of(charted)}
    stuck = alerts["SpawnAIQueueStuck"]
    assert (stuck["for"], stuck["labels"]["severity"]) == ("9m", "warning")
    assert stuck["expr"] == "max(spawnai_queue_oldest_wait_seconds) > 120"
    url = stuck["annotations"]["runbook_url"]
    assert url == "https://runbooks.example.com/queue-stuck.md"
    assert "SpawnAIDown" not in alerts
    assert "Mine" in alerts


def test_a_threshold_for_an_alert_that_has_none_is_refused(render):
    change = {"enabled": True, "alerts": {"SpawnAIDown": {"threshold": "1"}}}
    with pytest.raises(HelmError, match="this alert has no threshold"):
        render(f"prometheusRule={json.dumps(change)}")


def test_each_dashboard_is_a_config_map_for_grafanas_sidecar(render):
    assert not [kind for kind, _ in render() if kind == "ConfigMap"]
    charted = render('dashboards={"enabled": true}')
    files = sorted((checkout() / "dashboards").glob("*.json"))
    assert files
    for file in files:
        one = charted["ConfigMap", f"spawnai-dashboard-{file.stem}"]
        assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert one["metadata"]["annotations"] == {"grafana_folder": "SpawnAI"}
        assert json.loads(one["data"][file.name]) == json.loads(file.read_text())


def test_the_plugin_finds_the_console_where_its_address_is_given(render):
    told = ("ConfigMap", "spawnai-console")
    assert told not in render('console={"enabled": true}')
    url = "https://spawnai.example.com"
    charted = render(f'console={{"enabled": true, "url": "{url}"}}')
    assert charted[told]["metadata"]["namespace"] == "kube-public"
    assert charted[told]["data"] == {"url": url}
    role = charted["Role", "spawnai-console-address"]
    assert role["rules"][0]["resourceNames"] == ["spawnai-console"]
    readers = charted["RoleBinding", "spawnai-console-address"]["subjects"]
    assert [one["name"] for one in readers] == ["system:authenticated"]


def test_the_console_reads_its_history_where_the_secret_says_if_there_is_one(render):
    charted = render('console={"enabled": true, "historySecretName": "team-history"}')
    (container,) = charted["Deployment", "spawnai-console"]["spec"]["template"]["spec"][
        "containers"
    ]
    address = next(one for one in container["env"] if one["name"] == "SPAWNAI_DATABASE_URL")
    assert address["valueFrom"] == {
        "secretKeyRef": {"name": "team-history", "key": "url", "optional": True}
    }


def test_an_ingress_and_a_route_lead_to_the_consoles_service(render):
    ways = {
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "host": "a.example",
            "tlsSecretName": "tls",
        },
        "httpRoute": {
            "enabled": True,
            "parentRefs": [{"name": "public"}],
            "hostnames": ["a.example"],
        },
    }
    charted = render(f"console={json.dumps({'enabled': True, **ways})}")
    service = charted["Service", "spawnai-console"]
    ingress = charted["Ingress", "spawnai-console"]["spec"]
    assert ingress["ingressClassName"] == "nginx"
    assert ingress["tls"] == [{"secretName": "tls", "hosts": ["a.example"]}]
    [rule] = ingress["rules"]
    assert rule["host"] == "a.example"
    [path] = rule["http"]["paths"]
    port = {"name": service["spec"]["ports"][0]["name"]}
    assert path["backend"]["service"] == {"name": service["metadata"]["name"], "port": port}
    route = charted["HTTPRoute", "spawnai-console"]["spec"]
    assert route["parentRefs"] == [{"name": "public"}]
    assert route["hostnames"] == ["a.example"]
    number = service["spec"]["ports"][0]["port"]
    assert route["rules"] == [{"backendRefs": [{"name": "spawnai-console", "port": number}]}]
    without = render(f"console={json.dumps({'enabled': False, **ways})}")
    assert not {"Ingress", "HTTPRoute"} & {kind for kind, _ in without}


def test_an_ingress_without_a_host_is_refused_with_what_to_write(render):
    with pytest.raises(HelmError, match=r"console\.ingress\.host is needed"):
        render('console={"enabled": true, "ingress": {"enabled": true}}')


def test_uninstalling_is_guarded_unless_said_otherwise(render):
    guard = ("Job", "spawnai-uninstall-guard")
    assert render()[guard]["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
    assert guard not in render('uninstallGuard={"enabled": false}')


def test_extra_objects_are_templates(render):
    metadata = {"name": "more", "namespace": "{{ .Release.Namespace }}"}
    extra = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    value = f"extraObjects={json.dumps([extra])}"
    assert render(value)["ConfigMap", "more"]["metadata"]["namespace"] == "spawnai-system"


def test_the_gateway_serves_the_domain_and_the_secret_that_the_values_name(render):
    gateway = {"enabled": True, "domain": "a.example", "tlsSecretName": "from-cert-manager"}
    gateway["service"] = {"type": "ClusterIP", "annotations": {"one": "two"}}
    charted = render(f"gateway={json.dumps(gateway)}")
    pod = charted["Deployment", "spawnai-gateway"]["spec"]["template"]["spec"]
    ours, caddy = pod["containers"]
    assert {"name": "SPAWNAI_GATEWAY_DOMAIN", "value": "a.example"} in ours["env"]
    assert caddy["image"] == f"caddy:{CADDY_VERSION}"
    (tls,) = [one for one in pod["volumes"] if one["name"] == "tls"]
    assert tls["secret"]["secretName"] == "from-cert-manager"
    service = charted["Service", "spawnai-gateway"]
    assert service["spec"]["type"] == "ClusterIP"
    assert "externalTrafficPolicy" not in service["spec"]
    assert service["metadata"]["annotations"] == {"one": "two"}


def test_every_pod_meets_the_restricted_standard(render):
    pods = [
        one["spec"] if kind == "Pod" else one["spec"]["template"]["spec"]
        for (kind, _), one in render(*(f'{part}={{"enabled": true}}' for part in PARTS)).items()
        if kind in {"Deployment", *HOOKS}
    ]
    assert len(pods) == 3 + len(PARTS)
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            capabilities = container["securityContext"]["capabilities"]
            assert capabilities["drop"] == ["ALL"]
            # The only one that the restricted standard allows.
            assert set(capabilities.get("add", ())) <= {"NET_BIND_SERVICE"}


def test_every_container_says_how_its_image_is_pulled_and_what_disk_it_needs(render):
    """A full node ends first whoever asked for no disk, and `latest` is no version."""
    installed = list(render(*(f'{part}={{"enabled": true}}' for part in PARTS)).values())
    for file in (checkout() / "manifests").rglob("*.yaml"):
        installed += [one for one in yaml.safe_load_all(file.read_text()) if one]
    containers = [
        container
        for one in installed
        if one.get("kind") in {"Deployment", "CronJob", *HOOKS} and "spec" in one
        for container in pod_of(one)["containers"]
    ]
    assert {one["name"] for one in containers} >= {
        *("operator", "console", "gateway", "caddy", "inspector", "export", "guard", "test")
    }
    for container in containers:
        name = container["name"]
        assert container["imagePullPolicy"] == "IfNotPresent", name
        _, _, tag = container["image"].rpartition(":")
        assert re.fullmatch(r"\d+\.\d+\.\d+", tag), name
        for bound in ("requests", "limits"):
            assert "ephemeral-storage" in container["resources"][bound], name


def pod_of(document):
    return document["spec"] if document["kind"] == "Pod" else document["spec"]["template"]["spec"]


def test_every_example_of_values_is_a_valid_one(helm):
    examples = sorted((CHART / "ci").glob("*-values.yaml"))
    assert examples
    for values in examples:
        helm("lint", str(CHART), "--strict", "--values", str(values))


def test_the_package_is_small_enough_for_a_release(helm, tmp_path):
    # Helm keeps the whole chart in the release's Secret, which holds a megabyte.
    helm("package", str(CHART), "--destination", str(tmp_path))
    (package,) = tmp_path.iterdir()
    assert package.stat().st_size < 300_000


def test_the_oldest_cluster_is_the_same_everywhere(helm):
    oldest = oldest_version()
    module = (checkout() / "local" / "controlplane-oldest" / "go.mod").read_text()
    assert f"k8s.io/kubernetes v{oldest}." in module
    for page in ("docs/install.md", "helm/spawnai/README.md"):
        assert oldest in (checkout() / page).read_text(), page
    with pytest.raises(HelmError, match="incompatible with Kubernetes"):
        helm("template", "spawnai", str(CHART), "--kube-version", "1.32.9")
    assert helm("template", "spawnai", str(CHART), "--kube-version", f"{oldest}.0")


def test_the_schema_the_readme_and_the_versions_are_as_values_yaml_and_pyproject_say():
    done = subprocess.run(
        [sys.executable, "tools/chart.py", "--check"],
        check=False,
        cwd=checkout(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"]
