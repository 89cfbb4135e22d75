"""Names and values that other programs put into the environment, or that other servers have for the same thing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rerank.errors import SettingsError
from rerank.settings import prepare_libraries, read_settings, remarks_on_names, setting_names
from rerank.settings.service_links import without_service_links

from .conftest import WriteDotEnv, from_command_line

SERVICE_RERANK = {
    "RERANK_SERVICE_HOST": "10.0.0.1",
    "RERANK_SERVICE_PORT": "8000",
    "RERANK_SERVICE_PORT_HTTP": "8000",
    "RERANK_PORT": "tcp://10.0.0.1:8000",
    "RERANK_PORT_8000_TCP": "tcp://10.0.0.1:8000",
    "RERANK_PORT_8000_TCP_PROTO": "tcp",
    "RERANK_PORT_8000_TCP_PORT": "8000",
    "RERANK_PORT_8000_TCP_ADDR": "10.0.0.1",
}
SERVICE_GATEWAY = {name.replace("RERANK_", "RERANK_GATEWAY_"): value for name, value in SERVICE_RERANK.items()}
SERVICE_IPV6 = {"RERANK_SERVICE_HOST": "fd00::1", "RERANK_PORT": "tcp://[fd00::1]:8000"}


class TestServiceLinks:
    @pytest.mark.parametrize("links", [SERVICE_RERANK, SERVICE_GATEWAY, SERVICE_IPV6, SERVICE_RERANK | SERVICE_GATEWAY])
    def test_service_links_are_ignored(self, links: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in links.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PORT", "9001")
        assert read_settings().port == 9001

    @pytest.mark.parametrize("name", [*SERVICE_RERANK, *SERVICE_GATEWAY])
    def test_each_service_link_is_ignored(self, name: str) -> None:
        links = SERVICE_RERANK | SERVICE_GATEWAY
        # a port's number alone could be a mistake; next to its host it is not
        hosts = {host: value for host, value in links.items() if host.endswith("_SERVICE_HOST")}
        assert without_service_links(hosts | {name: links[name], "OTHER": "1"}) == {"OTHER": "1"}

    def test_service_links_do_not_hide_the_port_of_dot_env(
        self, monkeypatch: pytest.MonkeyPatch, dot_env: WriteDotEnv
    ) -> None:
        monkeypatch.setenv("RERANK_PORT", SERVICE_RERANK["RERANK_PORT"])
        dot_env("RERANK_PORT=9002\n")
        assert read_settings().port == 9002

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("RERANK_PROT", "tcp://10.0.0.1:8000"),
            ("RERANK_SERVICE_PORT", "8000"),
            ("RERANK_SERVICE_HOST", "everywhere"),
            ("RERANK_HTTP_PORT", "8000"),
        ],
    )
    def test_names_like_service_links_are_refused_as_unknown(
        self, name: str, value: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(name, value)
        with pytest.raises(SettingsError, match=f"^{name} is not a setting"):
            read_settings()

    def test_a_wrong_port_is_not_taken_for_a_service_link(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RERANK_PORT", "eight thousand")
        with pytest.raises(SettingsError, match=r"^RERANK_PORT / PORT: "):
            read_settings()


class TestHost:
    @pytest.mark.parametrize(
        ("given", "host"),
        [("[::]", "::"), ("[::1]", "::1"), (" 0.0.0.0 ", "0.0.0.0"), ("fe80::1%eth0", "fe80::1%eth0"), ("a_b", "a_b")],
    )
    def test_a_host_loses_brackets_and_spaces(self, given: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOST", given)
        assert read_settings().host == host

    @pytest.mark.parametrize(
        "value", ["0.0.0.0:8000", "http://0.0.0.0", "http://0.0.0.0:8000", "[::]:8000", "0.0.0.0/0", "one two", "[]"]
    )
    def test_a_host_with_more_than_an_address_is_refused(self, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOST", value)
        with pytest.raises(SettingsError, match=r"^RERANK_HOST / HOST: it has to be an IP address"):
            read_settings()


@pytest.mark.parametrize(
    ("given", "precision"),
    [("bfloat16", "bf16"), ("BFloat16", "bf16"), ("float16", "fp16"), ("half", "fp16"), ("float32", "fp32")],
)
def test_precisions_have_the_names_of_torch_too(given: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_PRECISION", given)
    assert read_settings().precision == precision


class TestLogFormat:
    @pytest.mark.parametrize(
        "given", ["%(asctime)s - %(name)s - %(levelname)s - %(message)s", "%(request_id)s: %(message)s"]
    )
    def test_a_log_format_may_be_a_format_string_of_logging(self, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOG_FORMAT", given)
        assert read_settings().log_format == given

    @pytest.mark.parametrize(
        ("given", "reason"),
        [
            ("xml", "invalid format"),
            ("%(message)", "invalid format"),
            ("%(message)d", "%d format"),
            ("%(nonsense)s %(message)s", "field not found in record: 'nonsense'"),
            ("{message}", "invalid format"),
            ("%(message)s %", "incomplete format"),
        ],
    )
    def test_a_log_format_that_logging_cannot_use_is_refused(
        self, given: str, reason: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LOG_FORMAT", given)
        with pytest.raises(SettingsError) as mistake:
            read_settings()
        assert str(mistake.value).startswith("RERANK_LOG_FORMAT / LOG_FORMAT: it can be text, json, or a format string")
        assert reason in str(mistake.value).lower()


class TestModelNameOrPath:
    def test_model_name_or_path_is_the_default_model_unless_another_is_named(self, dot_env: WriteDotEnv) -> None:
        dot_env("MODEL_NAME_OR_PATH=./models/Qwen3-Reranker-4B\n")
        assert read_settings().default_model == "./models/Qwen3-Reranker-4B"
        dot_env("MODEL_NAME_OR_PATH=./models/Qwen3-Reranker-4B\nRERANK_DEFAULT_MODEL=org/name\n")
        assert read_settings().default_model == "org/name"


class TestKeepAlive:
    @pytest.mark.parametrize(
        ("name", "connections", "models"),
        [
            ("KEEP_ALIVE", 5, 0.0),
            ("HTTP_KEEP_ALIVE", 5, 0.0),
            ("RERANK_KEEP_ALIVE", 75, 5.0),
            ("RERANK_MODEL_KEEP_ALIVE", 75, 5.0),
        ],
    )
    def test_keep_alive_is_for_connections_or_for_models(
        self, name: str, connections: int, models: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(name, "5")
        settings = read_settings()
        assert (settings.http_keep_alive, settings.keep_alive) == (connections, models)

    @pytest.mark.parametrize("name", ["KEEP_ALIVE", "RERANK_KEEP_ALIVE"])
    def test_an_ambiguous_keep_alive_is_explained_once(
        self, name: str, monkeypatch: pytest.MonkeyPatch, dot_env: WriteDotEnv
    ) -> None:
        monkeypatch.setenv(name, "5")
        dot_env(f"{name}=5\n")
        assert remarks_on_names() == [
            "KEEP_ALIVE is for idle connections (HTTP_KEEP_ALIVE), RERANK_KEEP_ALIVE for idle models "
            "(RERANK_MODEL_KEEP_ALIVE)"
        ]

    def test_a_clear_name_of_keep_alive_is_not_explained(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RERANK_MODEL_KEEP_ALIVE", "10m")
        monkeypatch.setenv("HTTP_KEEP_ALIVE", "5")
        monkeypatch.setenv("KEEP_ALIVE", "")
        assert remarks_on_names() == []


def test_names_without_effect_are_logged_in_one_line(monkeypatch: pytest.MonkeyPatch, dot_env: WriteDotEnv) -> None:
    monkeypatch.setenv("WORKER_CLASS", "uvicorn.workers.UvicornWorker")
    dot_env("WORKER_CONNECTIONS=1000\n")
    assert remarks_on_names() == ["without effect, as one process serves everything: WORKER_CLASS, WORKER_CONNECTIONS"]


class TestPassingOn:
    @pytest.fixture(autouse=True)
    def restored_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "environ", dict(os.environ))

    def test_variables_of_libraries_in_dot_env_are_passed_on(self, dot_env: WriteDotEnv) -> None:
        os.environ["HF_TOKEN"] = "of the environment"
        dot_env(
            "TOKENIZERS_PARALLELISM=false  # 中文\nPYTORCH_CUDA_ALLOC_CONF=max_split_size_mb:128\n"
            "HF_TOKEN=of the file\nCUDA_VISIBLE_DEVICES=\nWORKER_CLASS=x\nPORT=9001\nWORKERS=1\n"
        )
        os.environ["OMP_WAIT_POLICY"] = "passive"
        before = dict(os.environ)
        prepare_libraries()
        added = {name: value for name, value in os.environ.items() if before.get(name) != value}
        assert added == {
            "TOKENIZERS_PARALLELISM": "false",
            "PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:128",
        }

    def test_passing_on_a_broken_dot_env_names_the_line(self, dot_env: WriteDotEnv) -> None:
        dot_env('HF_TOKEN="open\n')
        with pytest.raises(SettingsError, match="line 1"):
            prepare_libraries()


class TestKeysThatNoClientCouldSend:
    @pytest.mark.parametrize("setting", ["RERANK_API_KEY", "ACCESS_TOKEN", "RERANK_ADMIN_KEY"])
    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            ('"sk-secret-key"', "begins or ends with a quote"),
            ("'sk-secret-key'", "begins or ends with a quote"),
            ("good-secret-key,“sk-secret-key”", "begins or ends with a quote"),
            ("Bearer sk-secret-key", "begins with `Bearer`"),
            ("bearer  sk-secret-key", "begins with `Bearer`"),
            ("sk-secret\u200b-key", "cannot be printed"),
            ("sk-secr", "fewer than 8 characters"),
            ("good-secret-key,x", "fewer than 8 characters"),
        ],
    )
    def test_keys_that_no_client_can_send_are_refused_without_being_shown(
        self, setting: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(setting, value)
        with pytest.raises(SettingsError) as mistake:
            read_settings()
        assert setting in str(mistake.value).split(": ")[0]
        assert reason in str(mistake.value)
        assert "sk-secr" not in str(mistake.value)

    @pytest.mark.parametrize("value", ["bearer-token-of-mine", "Bearerish-key", "键键键键键键键键"])
    def test_keys_that_only_look_unsendable_are_accepted(self, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RERANK_API_KEY", value)
        assert read_settings().api_keys == (value,)


class TestHome:
    @pytest.mark.parametrize("field", ["models_dir", "models_file", "keys_file"])
    @pytest.mark.parametrize("source", ["environment", "dot_env", "command line"])
    def test_a_tilde_is_the_home_folder_in_every_source(
        self, field: str, source: str, monkeypatch: pytest.MonkeyPatch, dot_env: WriteDotEnv, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        name = setting_names()[field][0]
        if source == "environment":
            monkeypatch.setenv(name, "~/here")
        elif source == "dot_env":
            dot_env(f"{name}=~/here\n")
        arguments = [f"--{name.lower().replace('_', '-')}=~/here"] if source == "command line" else []
        assert getattr(from_command_line(arguments), field) == tmp_path / "here"

    def test_a_home_folder_of_an_unknown_user_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RERANK_MODELS_DIR", "~no-such-user/models")
        with pytest.raises(SettingsError, match=r"^RERANK_MODELS_DIR: there is no home folder for ~no-such-user"):
            read_settings()


class TestDotEnv:
    def test_a_dot_env_that_is_a_folder_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / ".env").mkdir()
        with pytest.raises(SettingsError, match=r"^\.env is a folder\. Docker makes one"):
            read_settings()

    def test_dot_env_may_begin_with_a_byte_order_mark(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfRERANK_API_KEY=a-secret-key\r\nPORT=9001\r\n")
        settings = read_settings()
        assert (settings.api_keys, settings.port) == (("a-secret-key",), 9001)
