"""The manifests for KubeRay: what of them can be checked without KubeRay's schema, and its image."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from rerank.cluster.options import cluster_settings, read_options
from rerank.cluster.proxy import PLACE, VARIABLE
from rerank.settings import setting_names
from tests.deploy.manifests import ROOT, Manifest, check, environment, of_kind, pod_templates, the

FOLDER = ROOT / "deploy" / "ray"
IMAGE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
MANIFESTS: tuple[Manifest, ...] = tuple(yaml.safe_load_all((FOLDER / "rayservice.yaml").read_text(encoding="utf-8")))
SERVICE = the(MANIFESTS, "RayService")["spec"]
SERVE: dict[str, Any] = yaml.safe_load(SERVICE["serveConfigV2"])
(APPLICATION,) = SERVE["applications"]
CLUSTER = SERVICE["rayClusterConfig"]
HEAD = CLUSTER["headGroupSpec"]
(WORKERS,) = CLUSTER["workerGroupSpecs"]
PODS = [pod for manifest in MANIFESTS for pod in pod_templates(manifest)]


def test_kubernetes_takes_its_own_kinds() -> None:
    own = [manifest for manifest in MANIFESTS if manifest["kind"] != "RayService"]
    assert len(own) == 5
    for manifest in own:
        check(manifest)


@pytest.mark.parametrize("pod", PODS, ids=["download", "head", "worker"])
def test_pods_are_what_kubernetes_takes(pod: Manifest) -> None:
    check({"apiVersion": "v1", "kind": "Pod", **pod})


def test_fields_are_those_of_ray_io_v1() -> None:
    assert SERVICE.keys() <= {"upgradeStrategy", "serveConfigV2", "rayClusterConfig"}
    assert CLUSTER.keys() <= {
        *("rayVersion", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec", "workerGroupSpecs"),
    }
    assert CLUSTER["autoscalerOptions"].keys() <= {"version", "idleTimeoutSeconds", "securityContext", "resources"}
    assert HEAD.keys() == {"rayStartParams", "template"}
    assert WORKERS.keys() == HEAD.keys() | {"groupName", "replicas", "minReplicas", "maxReplicas"}
    for value in (*HEAD["rayStartParams"].values(), *WORKERS["rayStartParams"].values()):
        assert isinstance(value, str)


def test_ray_serve_takes_its_configuration() -> None:
    schema = pytest.importorskip("ray.serve.schema")
    read = schema.ServeDeploySchema.model_validate(SERVE)
    assert read.applications[0].import_path == "rerank.cluster.application:application"


def test_the_application_takes_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (name for names in setting_names().values() for name in names):
        monkeypatch.delenv(name, raising=False)
    options = read_options(APPLICATION["args"])
    settings = cluster_settings(options)
    assert options.scales
    assert (settings.port, settings.downloads) == (SERVE["http_options"]["port"], "off")
    assert SERVE["http_options"]["keep_alive_timeout_s"] == settings.http_keep_alive


def test_each_replica_has_a_pod_with_its_gpus() -> None:
    arguments = APPLICATION["args"]
    bounds = [WORKERS[name] for name in ("minReplicas", "replicas", "maxReplicas")]
    assert bounds == [arguments[name] for name in ("min_replicas", "replicas", "max_replicas")]
    (worker,) = WORKERS["template"]["spec"]["containers"]
    limits = worker["resources"]["limits"]
    assert int(limits["nvidia.com/gpu"]) == arguments["num_gpus"]
    assert arguments["num_cpus"] <= int(limits["cpu"]) < 2 * arguments["num_cpus"]
    assert HEAD["rayStartParams"]["num-cpus"] == "0"


def test_pods_have_time_for_the_drain() -> None:
    from rerank.cluster.application import _ENDING_SECONDS

    drain = float(APPLICATION["args"]["settings"]["RERANK_DRAIN_TIMEOUT"])
    assert WORKERS["template"]["spec"]["terminationGracePeriodSeconds"] > drain + _ENDING_SECONDS


def test_pods_and_containers_have_no_rights() -> None:
    user = int(re.search(r"^USER (\d+)$", IMAGE, re.MULTILINE)[1])  # type: ignore[index]
    for pod in PODS:
        context = pod["spec"]["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert {context["runAsUser"], context["runAsGroup"], context["fsGroup"]} == {user}
    containers = [container for pod in PODS for container in pod["spec"]["containers"]]
    for container in (*containers, CLUSTER["autoscalerOptions"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory", "ephemeral-storage"} <= set(container["resources"]["limits"])


def test_only_the_head_has_a_token_of_the_cluster() -> None:
    with_token = [pod for pod in PODS if pod["spec"].get("automountServiceAccountToken") is not False]
    assert with_token == [HEAD["template"]]


def test_only_port_8000_is_open_to_callers() -> None:
    policies = of_kind(MANIFESTS, "NetworkPolicy")
    for pod in PODS:
        chosen = [each for each in policies if _selects(each, pod)]
        assert "Ingress" in {kind for each in chosen for kind in each["spec"]["policyTypes"]}
    (within, operator, callers) = policies[0]["spec"]["ingress"]
    assert within["from"] == [{"podSelector": policies[0]["spec"]["podSelector"]}]
    assert [rule["port"] for rule in callers["ports"]] == [SERVE["http_options"]["port"]]
    assert "namespaceSelector" in operator["from"][0]


def test_head_and_workers_have_the_same_environment_and_volumes() -> None:
    head, worker = (pod["spec"]["containers"][0] for pod in (HEAD["template"], WORKERS["template"]))
    assert head["env"] == worker["env"]
    assert head["volumeMounts"] == worker["volumeMounts"]
    known = environment(head)
    # a middleware under any other name would keep the proxy from starting
    assert known.pop(VARIABLE) == PLACE
    assert known.keys() <= {name for names in setting_names().values() for name in names}


def test_versions_are_the_projects() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    images = {container["image"] for pod in PODS for container in pod["spec"]["containers"]}
    assert images == {f"registry.example/rerank-gateway:{version}-ray"}
    pinned = re.search(r"^ray\[serve\]==(\S+)$", (ROOT / "requirements-ray.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert CLUSTER["rayVersion"] == pinned[1]


def test_the_image_gets_every_file_that_it_copies() -> None:
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    for line in re.findall(r"^COPY (.+)$", IMAGE, re.MULTILINE):
        for file in line.split()[:-1]:
            assert f"!{file}" in allowed
            assert (ROOT / file).exists()


def _selects(policy: Manifest, pod: Manifest) -> bool:
    wanted: dict[str, str] = policy["spec"]["podSelector"]["matchLabels"]
    labels: dict[str, str] = pod["metadata"]["labels"]
    return wanted.items() <= labels.items()
