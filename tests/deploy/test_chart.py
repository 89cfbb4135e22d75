"""The Helm chart: valid for Kubernetes, fit for a hardened cluster, and true to the application and its image."""

from __future__ import annotations

import re
import threading
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from rerank.api import status
from rerank.api.auth import PUBLIC_PATHS
from rerank.backends.base import LoadedModel
from rerank.catalog.calibrations import Calibrations, calibrations_folder
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog
from rerank.cli.pull import Exit
from rerank.server import serve
from rerank.server.gauges import gauges
from rerank.settings import Settings, read_settings, setting_names
from tests.deploy.manifests import (
    CHART,
    EXAMPLES,
    LOWEST,
    NAMESPACE,
    NEEDED,
    RELEASE,
    ROOT,
    Manifest,
    check,
    environment,
    helm,
    of_kind,
    pod_templates,
    rendered,
    template,
    the,
)
from tests.support.app import MODEL, PATIENCE, AppUnderTest
from tests.support.waiting import wait_until

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
OF_LIBRARIES = {"HF_TOKEN", "OTEL_SERVICE_NAME"}
Release = tuple[Manifest, ...]


def server_pod(release: Release) -> Manifest:
    pod: Manifest = the(release, "Deployment")["spec"]["template"]
    return pod


def server(release: Release) -> Manifest:
    (container,) = server_pod(release)["spec"]["containers"]
    return dict(container)


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return selector.items() <= labels.items()


def labelled(app: AppUnderTest, metric: str) -> set[str]:
    """The models for which there is a metric."""
    return set(re.findall(rf'^{metric}{{model="([^"]+)"}} ', app.client.get("/metrics").text, re.MULTILINE))


class TestValid:
    def test_every_manifest_is_what_kubernetes_takes(self, release: Release) -> None:
        assert len(release) >= 6
        for manifest in release:
            check(manifest)

    def test_the_oldest_version_takes_them_too(self, everything: Release) -> None:
        for manifest in everything:
            check(manifest, LOWEST)

    def test_a_wrong_field_of_any_kind_is_noticed(self, everything: Release) -> None:
        assert {"ScaledObject", "ServiceMonitor", "Job"} <= {manifest["kind"] for manifest in everything}
        for manifest in everything:
            part = "data" if "data" in manifest else "spec" if "spec" in manifest else "metadata"
            wrong = manifest | {part: {**manifest[part], "surprise": {"a": 1}}}
            with pytest.raises(Exception, match=r"surprise|type"):
                check(wrong)

    def test_helm_finds_no_fault(self) -> None:
        needed = [f"--set={value}" for value in NEEDED]
        done = helm("lint", "--strict", "--quiet", str(CHART), *needed)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_kubernetes_is_as_new_as_the_chart_says(self) -> None:
        assert yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"] == f">={LOWEST}.0-0"

    def test_names_are_short_enough_for_any_release(self) -> None:
        values = ("weights.download={acme/words}", "models.file=#", "models.calibrations.a\\.json=b")
        for manifest in rendered(*NEEDED, *values, release="r" * 53):
            assert len(manifest["metadata"]["name"]) <= 63, manifest["metadata"]["name"]
            check(manifest)

    def test_everything_is_in_the_namespace_of_the_release(self, release: Release) -> None:
        assert {manifest["metadata"]["namespace"] for manifest in release} == {NAMESPACE}


class TestHardened:
    """The level restricted of Kubernetes' Pod Security Standards, and what clusters often ask for in addition."""

    def test_pods_have_no_rights(self, release: Release) -> None:
        for pod in (pod for manifest in release for pod in pod_templates(manifest)):
            spec = pod["spec"]
            assert spec["automountServiceAccountToken"] is False
            assert spec["enableServiceLinks"] is False
            assert spec["securityContext"]["runAsNonRoot"] is True
            assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
            kinds = {kind for volume in spec["volumes"] for kind in volume} - {"name"}
            assert kinds <= {"configMap", "secret", "emptyDir", "persistentVolumeClaim"}

    def test_containers_have_no_rights(self, release: Release) -> None:
        for container in (c for m in release for pod in pod_templates(m) for c in pod["spec"]["containers"]):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "privileged": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "capabilities": {"drop": ["ALL"]},
            }

    def test_resources_are_limited(self, release: Release) -> None:
        for container in (c for m in release for pod in pod_templates(m) for c in pod["spec"]["containers"]):
            limits, requests = container["resources"]["limits"], container["resources"]["requests"]
            assert {"cpu", "memory", "ephemeral-storage"} <= set(limits)
            assert {"cpu", "memory", "ephemeral-storage"} <= set(requests)

    def test_the_memory_of_the_server_is_its_own(self, release: Release) -> None:
        resources = server(release)["resources"]
        assert resources["requests"]["memory"] == resources["limits"]["memory"]

    def test_temporary_folders_have_a_size(self, release: Release) -> None:
        for pod in (pod for manifest in release for pod in pod_templates(manifest)):
            for volume in pod["spec"]["volumes"]:
                assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": ""})

    def test_images_are_named_by_version_or_digest(self, release: Release) -> None:
        version = _version()
        for container in (c for m in release for pod in pod_templates(m) for c in pod["spec"]["containers"]):
            assert re.search(rf"(:{re.escape(version)}(-cuda)?|@sha256:[0-9a-f]{{64}})$", container["image"])

    def test_every_pod_has_a_network_policy_for_both_directions(self, release: Release) -> None:
        policies = of_kind(release, "NetworkPolicy")
        for pod in (pod for manifest in release for pod in pod_templates(manifest)):
            (policy,) = (
                each
                for each in policies
                if selects(each["spec"]["podSelector"]["matchLabels"], pod["metadata"]["labels"])
            )
            assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]

    def test_servers_do_not_leave_the_cluster_unless_told(self) -> None:
        servers, download = of_kind(rendered(*NEEDED, str(EXAMPLES / "cpu.yaml")), "NetworkPolicy")
        assert "download" in download["metadata"]["name"]
        assert [rule["ports"][0]["port"] for rule in servers["spec"]["egress"]] == [53]
        assert [rule["ports"][0]["port"] for rule in download["spec"]["egress"]] == [53, 443]
        assert "ingress" not in download["spec"]

    def test_only_the_job_gets_the_token_of_the_hub(self, everything: Release) -> None:
        (job,) = the(everything, "Job")["spec"]["template"]["spec"]["containers"]
        assert "HF_TOKEN" in environment(job)
        assert "HF_TOKEN" not in environment(server(everything))


class TestTheApplication:
    def test_the_server_accepts_its_environment(
        self, release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = environment(server(release)) | {"RERANK_STATE_URL": "redis://redis:6379/0"}
        _set(given, tmp_path, monkeypatch)
        settings = read_settings()
        assert (settings.host, settings.port, settings.downloads) == ("0.0.0.0", 8000, given["RERANK_DOWNLOADS"])

    def test_every_variable_is_a_setting(self, release: Release) -> None:
        known = {name for names in setting_names().values() for name in names} | OF_LIBRARIES
        for container in (c for m in release for pod in pod_templates(m) for c in pod["spec"]["containers"]):
            assert environment(container).keys() <= known

    def test_settings_that_the_chart_makes_are_refused_under_all_their_names(self, everything: Release) -> None:
        schema = yaml.safe_load((CHART / "values.schema.json").read_text())
        refused = set(schema["properties"]["settings"]["propertyNames"]["not"]["enum"])
        free = {"RERANK_CACHE_TTL", "RERANK_PAGES", "OTEL_SERVICE_NAME"}
        made = environment(server(everything)).keys() - free
        for names in (names for names in setting_names().values() if made & set(names)):
            assert set(names) <= refused

    def test_probes_and_port_are_the_servers(self, release: Release) -> None:
        container = server(release)
        (port,) = container["ports"]
        assert f"EXPOSE {port['containerPort']}\n" in DOCKERFILE
        assert environment(container)["RERANK_PORT"] == str(port["containerPort"])
        probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
        assert {probe["port"] for probe in probes.values()} == {port["name"]}
        assert [probe["path"] for probe in probes.values()] == ["/health", "/health", "/ready"]
        paths = {route.path for route in (*status.router.routes, *status.health_router(bare=False).routes)}  # type: ignore[attr-defined]
        assert {"/health", "/ready"} <= paths & PUBLIC_PATHS

    def test_the_service_leads_to_the_servers_alone(self, release: Release) -> None:
        service = the(release, "Service")["spec"]
        (port,) = service["ports"]
        assert port["targetPort"] == server(release)["ports"][0]["name"]
        assert selects(service["selector"], server_pod(release)["metadata"]["labels"])
        for job in of_kind(release, "Job"):
            assert not selects(service["selector"], job["spec"]["template"]["metadata"]["labels"])

    def test_pods_run_as_the_user_of_the_image(self, release: Release) -> None:
        user = int(re.search(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE)[1])  # type: ignore[index]
        for pod in (pod for manifest in release for pod in pod_templates(manifest)):
            context = pod["spec"]["securityContext"]
            assert {context["runAsUser"], context["runAsGroup"], context["fsGroup"]} == {user}

    def test_the_cluster_may_choose_the_user(self) -> None:
        release = rendered(*NEEDED, "user=null")
        context = server_pod(release)["spec"]["securityContext"]
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & set(context)
        assert context["runAsNonRoot"] is True
        check(the(release, "Deployment"))

    def test_volumes_are_where_the_image_writes(self, release: Release) -> None:
        volume = re.search(r"^VOLUME (\S+)$", DOCKERFILE, re.MULTILINE)[1]  # type: ignore[index]
        for container in (c for m in release for pod in pod_templates(m) for c in pod["spec"]["containers"]):
            assert {volume, "/tmp"} <= {mount["mountPath"] for mount in container["volumeMounts"]}

    @pytest.mark.parametrize("values", [(), ("shutdown.drainSeconds=120", "shutdown.unreachableSeconds=30")])
    def test_pods_have_time_for_the_drain(self, values: tuple[str, ...]) -> None:
        release = rendered(*NEEDED, *values)
        container = server(release)
        wait = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        drain = float(environment(container)["RERANK_DRAIN_TIMEOUT"])
        assert (wait, drain) == ((30, 120) if values else (10, Settings().drain_timeout))
        grace = server_pod(release)["spec"]["terminationGracePeriodSeconds"]
        assert grace == wait + drain + serve._CLOSING_SECONDS + 5

    def test_the_job_downloads_by_the_command_of_the_image(self, everything: Release) -> None:
        spec = the(everything, "Job")["spec"]
        (container,) = spec["template"]["spec"]["containers"]
        run = re.search(r"^CMD \[(.*)\]$", DOCKERFILE, re.MULTILINE)[1]  # type: ignore[index]
        assert container["command"] == [
            *(word.strip('" ') for word in run.split(",")),
            *("pull", "BAAI/bge-reranker-v2-m3", "acme/words"),
        ]
        (final, _) = spec["podFailurePolicy"]["rules"]
        assert final["onExitCodes"]["values"] == [Exit.USAGE, Exit.NOT_FOUND, Exit.NO_ACCESS]

    def test_pods_are_scaled_by_work_that_more_of_them_shorten(self, everything: Release, tmp_path: Path) -> None:
        (trigger,) = the(everything, "ScaledObject")["spec"]["triggers"]
        pods = f'{{namespace="{NAMESPACE}",service="{the(everything, "Service")["metadata"]["name"]}"}}'
        backlog, in_memory = re.findall(r"\brerank_\w+", trigger["metadata"]["query"])
        assert trigger["metadata"]["query"] == f"sum({backlog}{pods} and on (pod, model) {in_memory}{pods})"
        loading = threading.Event()

        def load(card: ModelCard) -> LoadedModel:
            assert loading.wait(PATIENCE)
            return app.loaded(card)

        with AppUnderTest(tmp_path, load=load) as app:
            app.asgi.state.metrics.add_gauges(*gauges(app.gateway, app.scheduler))
            waiting = app.rerank_meanwhile()
            wait_until(lambda: labelled(app, backlog) == {MODEL.id})
            # that is waited for, but another pod would have to load it, too
            assert labelled(app, in_memory) == set()
            loading.set()
            assert waiting.result(PATIENCE).status_code == 200
            assert labelled(app, backlog) == labelled(app, in_memory) == {MODEL.id}

    def test_versions_are_the_projects(self) -> None:
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        assert chart["version"] == chart["appVersion"] == _version()


class TestParts:
    def test_all_parts_belong_to_the_same_pods(self, everything: Release) -> None:
        labels = server_pod(everything)["metadata"]["labels"]
        deployment = the(everything, "Deployment")
        for kind in ("Deployment", "PodDisruptionBudget"):
            assert selects(the(everything, kind)["spec"]["selector"]["matchLabels"], labels)
        monitored = the(everything, "ServiceMonitor")["spec"]["selector"]["matchLabels"]
        assert selects(monitored, the(everything, "Service")["metadata"]["labels"])
        scaled = the(everything, "ScaledObject")["spec"]["scaleTargetRef"]["name"]
        assert scaled == deployment["metadata"]["name"] == RELEASE
        assert "replicas" not in deployment["spec"]

    def test_pods_are_replaced_and_weights_fetched_again_for_other_cards(self) -> None:
        made = [rendered(*NEEDED, "weights.download={acme/words}", f"models.file=# {text}") for text in ("one", "two")]
        assert len({str(server_pod(release)["metadata"]["annotations"]) for release in made}) == 2
        assert len({the(release, "Job")["metadata"]["name"] for release in made}) == 2

    def test_files_reach_the_server_as_they_are_and_are_read_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        release = rendered(*NEEDED, str(EXAMPLES / "gateway.yaml"))
        monkeypatch.setenv("COHERE_API_KEY", "key-of-the-test")
        _mount(the(release, "ConfigMap")["data"], tmp_path)
        catalog = Catalog.open(tmp_path / "models", tmp_path / "models.toml")
        assert catalog.choose_default(environment(server(release))["RERANK_DEFAULT_MODEL"]).card.id == "always"

    def test_calibrations_are_read_through_the_links_of_a_volume(self, tmp_path: Path) -> None:
        content = """{"model": "acme/words", "weights": "0123456789abcdef0123456789abcdef", "reference": "r",
            "data": "0123456789abcdef0123456789abcdef", "date": "2026-11-26", "method": "platt",
            "parameters": {"slope": 1.0, "offset": 0.0}}"""
        release = rendered(*NEEDED, "models.calibrations.acme--words\\.json=x")
        (name,) = the(release, "ConfigMap")["data"]
        _mount({name: content}, tmp_path / "calibrations")
        mounted = {mount["name"]: mount["mountPath"] for mount in server(release)["volumeMounts"]}
        assert Path(mounted["calibrations"]) == Path(mounted["models"]).with_name("calibrations")
        folder = calibrations_folder(tmp_path / "models")
        assert list(Calibrations.read(folder, ()).of_models) == ["acme--words.json"]

    def test_alerts_and_board_are_those_of_the_documentation(self) -> None:
        monitoring = ROOT / "docs" / "monitoring"
        files = (f"alerts={monitoring / 'alerts.yml'}", f"dashboard={monitoring / 'grafana.json'}")
        options = [f"--set-file=monitoring.{file}" for file in files]
        done = helm("template", RELEASE, str(CHART), *(f"--set={value}" for value in NEEDED), *options)
        release = tuple(each for each in yaml.safe_load_all(done.stdout) if each)
        rules = the(release, "PrometheusRule")
        check(rules)
        assert rules["spec"] == yaml.safe_load((monitoring / "alerts.yml").read_text())
        assert list(the(release, "ConfigMap")["data"].values()) == [(monitoring / "grafana.json").read_text()]

    def test_one_pod_has_the_volume_to_itself(self) -> None:
        deployment = the(rendered(*NEEDED, str(EXAMPLES / "one-pod.yaml")), "Deployment")
        assert deployment["spec"]["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (("image.repository=",), "image.repository: say where"),
        (("auth.secret=",), "auth.secret: name the Secret"),
        (("auth.open=true",), "auth.open: it contradicts"),
        (("auth.apiKey=",), "auth.apiKey, auth.keysFile: name an item"),
        (("weights.accessMode=ReadWriteOnce",), "weights.accessMode: pods on several nodes"),
        (("weights.onRequest=catalogue",), "weights.onRequest: the network policy keeps"),
        (("weights.onRequest=catalogue", "weights.readOnly=true"), "weights.readOnly: requests cannot"),
        (("weights.enabled=false", "weights.download={a/b}"), "weights.download: there is no volume"),
        (("redis.secret=redis",), "networkPolicy.egress: no rule lets"),
        (("device=cuda",), "resources.limits: device=cuda needs a GPU"),
        (("device=cuda", "autoscaling.kind=hpa"), "autoscaling.kind: the CPU's use"),
        (("autoscaling.kind=keda",), "autoscaling.kind: keda asks Prometheus"),
        (("autoscaling.min=9",), "autoscaling.min: it is more than"),
        (("monitoring.serviceMonitor=true",), "monitoring.secret: Prometheus needs a key"),
        (("settings.PORT=x",), "invalid propertyName 'PORT'"),
        (("settings.MAX_INFLIGHT_TOKENS=20000000",), "got number, want string"),
        (("wieghts.size=1Gi",), "'wieghts' not allowed"),
    ],
)
def test_what_would_fail_in_the_cluster_is_refused_before(values: tuple[str, ...], complaint: str) -> None:
    done = template(*NEEDED, *values)
    assert done.returncode
    assert complaint in done.stderr


def _version() -> str:
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return version


def _set(variables: Mapping[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment with no other settings."""
    for name in (name for names in setting_names().values() for name in names):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)


def _mount(data: Mapping[str, Any], folder: Path) -> None:
    """The files as Kubernetes mounts them: links to a link to a folder that it replaces."""
    version = folder / "..2026_11_26"
    version.mkdir(parents=True)
    (folder / "..data").symlink_to(version.name)
    for name, content in data.items():
        (version / name).write_text(content, encoding="utf-8")
        (folder / name).symlink_to(Path("..data") / name)
