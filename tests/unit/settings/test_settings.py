from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_core import InitErrorDetails
from pydantic_settings.exceptions import SettingsError as UnreadableSetting

from rerank.errors import SettingsError
from rerank.settings import Settings, read_settings, setting_names

from .conftest import WriteDotEnv, from_command_line

# field: its environment names, a value as text, the same as the server sees it
SETTINGS: dict[str, tuple[tuple[str, ...], str, object]] = {
    "host": (("RERANK_HOST", "HOST"), "::1", "::1"),
    "port": (("RERANK_PORT", "PORT"), "9001", 9001),
    "api_key": (("RERANK_API_KEY", "ACCESS_TOKEN"), "a-secret-key", "a-secret-key"),
    "admin_key": (("RERANK_ADMIN_KEY",), "an-admin-key", "an-admin-key"),
    "keys_file": (("RERANK_KEYS_FILE",), "secret/keys.toml", Path("secret/keys.toml")),
    "default_model": (
        ("RERANK_DEFAULT_MODEL", "RERANK_MODEL_NAME_OR_PATH", "MODEL_NAME_OR_PATH"),
        "org/name",
        "org/name",
    ),
    "preload": (("RERANK_PRELOAD",), "one,two", "one,two"),
    "models_dir": (("RERANK_MODELS_DIR",), "weights", Path("weights")),
    "models_file": (("RERANK_MODELS_FILE",), "cards.toml", Path("cards.toml")),
    "device": (("RERANK_MODEL_DEVICE", "MODEL_DEVICE"), "CUDA:1", "cuda:1"),
    "precision": (("RERANK_MODEL_PRECISION", "MODEL_PRECISION"), "BF16", "bf16"),
    "runtime": (("RERANK_MODEL_RUNTIME", "MODEL_RUNTIME"), "Torch", "torch"),
    "batch_size": (("RERANK_BATCH_SIZE", "BATCH_SIZE"), "7", 7),
    "batch_tokens": (("RERANK_BATCH_TOKENS", "BATCH_TOKENS"), "8", 8),
    "max_seq_length": (("RERANK_MAX_SEQ_LENGTH", "MAX_SEQ_LENGTH"), "256", 256),
    "long_documents": (("RERANK_LONG_DOCUMENTS",), "Chunk", "chunk"),
    "max_documents": (("RERANK_MAX_DOCUMENTS", "MAX_DOCUMENTS"), "9", 9),
    "max_body_bytes": (("RERANK_MAX_BODY_BYTES", "MAX_BODY_BYTES"), "2048", 2048),
    "max_inflight_documents": (
        (
            "RERANK_MAX_INFLIGHT_DOCUMENTS",
            "MAX_INFLIGHT_DOCUMENTS",
            "RERANK_MAX_WAITING_DOCUMENTS",
            "MAX_WAITING_DOCUMENTS",
        ),
        "11",
        11,
    ),
    "max_inflight_tokens": (
        ("RERANK_MAX_INFLIGHT_TOKENS", "MAX_INFLIGHT_TOKENS", "RERANK_MAX_QUEUE_TOKENS", "MAX_QUEUE_TOKENS"),
        "12",
        12,
    ),
    "max_inflight_bytes": (
        ("RERANK_MAX_INFLIGHT_BYTES", "MAX_INFLIGHT_BYTES", "RERANK_MAX_QUEUE_BYTES", "MAX_QUEUE_BYTES"),
        "4096",
        4096,
    ),
    "state_url": (("RERANK_STATE_URL",), " redis://state:6379/1 ", "redis://state:6379/1"),
    "cache": (("RERANK_CACHE",), "Off", "off"),
    "cache_ttl": (("RERANK_CACHE_TTL",), "10m", 600.0),
    "cached_pairs": (("RERANK_CACHED_PAIRS",), "1000", 1000),
    "vector_cache": (("RERANK_VECTOR_CACHE",), "1GB", "1GB"),
    "timeout": (("RERANK_TIMEOUT", "TIMEOUT"), "1.5", 1.5),
    "drain_timeout": (("RERANK_DRAIN_TIMEOUT", "DRAIN_TIMEOUT"), "3.5", 3.5),
    "load_timeout": (("RERANK_LOAD_TIMEOUT", "LOAD_TIMEOUT"), "2.5", 2.5),
    "memory_budget": (
        ("RERANK_MEMORY_BUDGET", "MEMORY_BUDGET", "RERANK_MAX_MEMORY_PERCENTAGE", "MAX_MEMORY_PERCENTAGE"),
        "70",
        "70",
    ),
    "keep_alive": (("RERANK_MODEL_KEEP_ALIVE", "MODEL_KEEP_ALIVE", "RERANK_KEEP_ALIVE"), "10m", 600.0),
    "http_keep_alive": (("RERANK_HTTP_KEEP_ALIVE", "HTTP_KEEP_ALIVE", "KEEP_ALIVE"), "12", 12),
    "dialect": (("RERANK_DIALECT",), " Strict-vLLM ", "strict-vllm"),
    "strict_vllm": (("RERANK_STRICT_VLLM",), "1", True),
    "receive_timeout": (("RERANK_RECEIVE_TIMEOUT", "RECEIVE_TIMEOUT"), "2.5", 2.5),
    "send_timeout": (("RERANK_SEND_TIMEOUT", "SEND_TIMEOUT"), "7.5", 7.5),
    "max_connections": (("RERANK_MAX_CONNECTIONS", "MAX_CONNECTIONS"), "70", 70),
    "allowed_hosts": (("RERANK_ALLOWED_HOSTS", "ALLOWED_HOSTS"), "rerank.example", "rerank.example"),
    "downloads": (("RERANK_DOWNLOADS",), "Configured", "configured"),
    "min_free_disk": (("RERANK_MIN_FREE_DISK",), "500MiB", "500MiB"),
    "cors_origins": (("RERANK_CORS_ORIGINS",), "https://a.example", "https://a.example"),
    "open_metrics": (("RERANK_OPEN_METRICS",), "true", True),
    "enable_tokenizer_info_endpoint": (("RERANK_ENABLE_TOKENIZER_INFO_ENDPOINT",), "1", True),
    "pages": (("RERANK_PAGES",), "off", False),
    "log_level": (("RERANK_LOG_LEVEL", "LOG_LEVEL"), " Debug ", "debug"),
    "log_texts": (("RERANK_LOG_TEXTS",), "yes", True),
    "log_format": (("RERANK_LOG_FORMAT", "LOG_FORMAT"), "JSON", "json"),
    "hf_endpoint": (("RERANK_HF_ENDPOINT", "HF_ENDPOINT"), "https://hf-mirror.com", "https://hf-mirror.com"),
}
DEFAULTS: dict[str, object] = {
    "keys_file": Path("keys.toml"),
    "max_inflight_tokens": 10_000_000,
    "max_inflight_bytes": 512 * 1024**2,
    "log_texts": False,
    "state_url": None,
    "cache": None,
    "cache_ttl": 3600.0,
    "cached_pairs": 100_000,
    "vector_cache": "64MB",
    "runtime": "auto",
    "host": None,
    "port": 8000,
    "api_key": None,
    "admin_key": None,
    "default_model": None,
    "preload": None,
    "models_dir": Path("models"),
    "models_file": Path("models.toml"),
    "device": "auto",
    "precision": "auto",
    "batch_size": None,
    "batch_tokens": None,
    "max_seq_length": None,
    "long_documents": "cut",
    "max_documents": 5000,
    "max_body_bytes": 32 * 1024 * 1024,
    "max_inflight_documents": 20000,
    "timeout": 300.0,
    "drain_timeout": 25.0,
    "load_timeout": 600.0,
    "memory_budget": "90%",
    "keep_alive": 0.0,
    "http_keep_alive": 75,
    "dialect": "vllm",
    "strict_vllm": None,
    "receive_timeout": 30.0,
    "send_timeout": 60.0,
    "max_connections": None,
    "allowed_hosts": None,
    "cors_origins": None,
    "open_metrics": False,
    "enable_tokenizer_info_endpoint": False,
    "pages": True,
    "log_level": "info",
    "log_format": "text",
    "hf_endpoint": None,
    "downloads": "catalogue",
    "min_free_disk": "2GB",
}
EVERY_NAME = [(field, name) for field, (names, _, _) in SETTINGS.items() for name in names]


def seen(settings: Settings, field: str) -> object:
    # getattr would warn of a former name
    value = settings.__dict__[field]
    return value.get_secret_value() if field.endswith("_key") and value else value


def refuse_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Settings, "__init__", refuse)


class TestNames:
    def test_all_names_of_all_settings_are_listed(self) -> None:
        assert setting_names() == {field: names for field, (names, _, _) in SETTINGS.items()}

    @pytest.mark.parametrize("field", SETTINGS)
    def test_a_setting_has_its_default(self, field: str) -> None:
        assert seen(read_settings(), field) == DEFAULTS[field]

    @pytest.mark.parametrize(("field", "name"), EVERY_NAME)
    def test_a_setting_comes_from_the_environment(self, field: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        _, text, value = SETTINGS[field]
        monkeypatch.setenv(name, text)
        assert seen(read_settings(), field) == value

    @pytest.mark.parametrize(("field", "name"), EVERY_NAME)
    def test_a_setting_comes_from_dot_env(self, field: str, name: str, dot_env: WriteDotEnv) -> None:
        _, text, value = SETTINGS[field]
        dot_env(f"{name}={text}\n")
        assert seen(read_settings(), field) == value

    @pytest.mark.parametrize(("field", "name"), EVERY_NAME)
    def test_a_setting_comes_from_the_command_line(self, field: str, name: str) -> None:
        _, text, value = SETTINGS[field]
        assert seen(from_command_line([f"--{name.lower().replace('_', '-')}", text]), field) == value

    @pytest.mark.parametrize(("field", "name"), EVERY_NAME)
    def test_an_empty_value_means_the_default(
        self, field: str, name: str, monkeypatch: pytest.MonkeyPatch, dot_env: WriteDotEnv
    ) -> None:
        dot_env(f"{name}=\n")
        monkeypatch.setenv(name, "")
        assert seen(read_settings(), field) == DEFAULTS[field]


class TestPrecedence:
    def test_the_command_line_precedes_the_environment_dot_env_and_the_default(
        self, monkeypatch: pytest.MonkeyPatch, dot_env: WriteDotEnv
    ) -> None:
        assert read_settings().port == 8000
        dot_env("PORT=9001\n")
        assert read_settings().port == 9001
        dot_env("PORT=9001\nRERANK_PORT=9002\n")
        assert read_settings().port == 9002
        monkeypatch.setenv("PORT", "9003")
        assert read_settings().port == 9003
        monkeypatch.setenv("RERANK_PORT", "9004")
        assert read_settings().port == 9004
        assert from_command_line(["--port", "9005"]).port == 9005
        assert from_command_line(["--rerank-port", "9006"]).port == 9006

    def test_an_empty_name_does_not_hide_the_next_source(
        self, monkeypatch: pytest.MonkeyPatch, dot_env: WriteDotEnv
    ) -> None:
        dot_env("RERANK_PORT=9001\n")
        monkeypatch.setenv("RERANK_PORT", "")
        assert read_settings().port == 9001

    def test_the_command_line_is_not_read_unless_given(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "argv", ["pytest", "--port", "9001"])
        assert read_settings().port == 8000


class TestMistakes:
    @pytest.mark.parametrize(
        ("name", "value", "told_as"),
        [
            ("PORT", "http", "RERANK_PORT / PORT"),
            ("RERANK_PORT", "65536", "RERANK_PORT / PORT"),
            ("RERANK_PORT", "-1", "RERANK_PORT / PORT"),
            ("MODEL_DEVICE", "gpu", "RERANK_MODEL_DEVICE / MODEL_DEVICE"),
            ("MODEL_DEVICE", "cuda:", "RERANK_MODEL_DEVICE / MODEL_DEVICE"),
            ("MODEL_DEVICE", "cuda:0,cpu", "RERANK_MODEL_DEVICE / MODEL_DEVICE"),
            ("MODEL_PRECISION", "int4", "RERANK_MODEL_PRECISION / MODEL_PRECISION"),
            ("BATCH_SIZE", "0", "RERANK_BATCH_SIZE / BATCH_SIZE"),
            ("BATCH_SIZE", "4097", "RERANK_BATCH_SIZE / BATCH_SIZE"),
            ("BATCH_TOKENS", "0", "RERANK_BATCH_TOKENS / BATCH_TOKENS"),
            ("MAX_SEQ_LENGTH", "7", "RERANK_MAX_SEQ_LENGTH / MAX_SEQ_LENGTH"),
            ("MAX_DOCUMENTS", "0", "RERANK_MAX_DOCUMENTS / MAX_DOCUMENTS"),
            ("MAX_BODY_BYTES", "1023", "RERANK_MAX_BODY_BYTES / MAX_BODY_BYTES"),
            ("MAX_WAITING_DOCUMENTS", "0", " / ".join(SETTINGS["max_inflight_documents"][0])),
            ("TIMEOUT", "0", "RERANK_TIMEOUT / TIMEOUT"),
            ("TIMEOUT", "nan", "RERANK_TIMEOUT / TIMEOUT"),
            ("LOAD_TIMEOUT", "0", "RERANK_LOAD_TIMEOUT / LOAD_TIMEOUT"),
            ("MEMORY_BUDGET", "much", " / ".join(SETTINGS["memory_budget"][0])),
            ("MAX_MEMORY_PERCENTAGE", "0", " / ".join(SETTINGS["memory_budget"][0])),
            ("RERANK_KEEP_ALIVE", "-1", " / ".join(SETTINGS["keep_alive"][0])),
            ("RERANK_KEEP_ALIVE", "soon", " / ".join(SETTINGS["keep_alive"][0])),
            ("KEEP_ALIVE", "0", " / ".join(SETTINGS["http_keep_alive"][0])),
            ("HTTP_KEEP_ALIVE", "0", " / ".join(SETTINGS["http_keep_alive"][0])),
            ("LOG_LEVEL", "loud", "RERANK_LOG_LEVEL / LOG_LEVEL"),
            ("LOG_FORMAT", "xml", "RERANK_LOG_FORMAT / LOG_FORMAT"),
            ("HF_ENDPOINT", "hf-mirror.com", "RERANK_HF_ENDPOINT / HF_ENDPOINT"),
        ],
    )
    def test_a_wrong_value_is_reported_with_the_names_of_its_setting(
        self, name: str, value: str, told_as: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(name, value)
        with pytest.raises(SettingsError) as mistake:
            read_settings()
        assert str(mistake.value).startswith(f"{told_as}: ")
        assert str(mistake.value).endswith(f"(got {value!r})")

    @pytest.mark.parametrize(("strict", "dialect"), [("1", "sglang"), ("no", "strict-vllm")])
    def test_contradictory_dialects_are_refused_and_keys_are_not_shown(
        self, strict: str, dialect: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RERANK_STRICT_VLLM", strict)
        monkeypatch.setenv("RERANK_DIALECT", dialect)
        monkeypatch.setenv("RERANK_API_KEY", "a-secret-key")
        with pytest.raises(SettingsError) as mistake:
            read_settings()
        said = "true" if strict == "1" else "false"
        assert str(mistake.value) == (
            f"RERANK_DIALECT: it contradicts RERANK_STRICT_VLLM={said}; leave that one out (got {dialect!r})"
        )

    @pytest.mark.parametrize(
        ("name", "value", "allowed"),
        [
            ("MODEL_DEVICE", "gpu", "auto, cpu, mps, cuda (every GPU) or GPUs by number: cuda:1 or cuda:0,cuda:2"),
            ("HF_ENDPOINT", "hf-mirror.com", "a whole address that begins with https:// or http://"),
        ],
    )
    def test_allowed_values_are_described_in_words(
        self, name: str, value: str, allowed: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(name, value)
        with pytest.raises(SettingsError) as mistake:
            read_settings()
        assert allowed in str(mistake.value)
        assert "pattern" not in str(mistake.value)
        assert "Value error" not in str(mistake.value)

    def test_all_wrong_values_are_reported_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PORT", "http")
        monkeypatch.setenv("TIMEOUT", "soon")
        with pytest.raises(SettingsError, match=r"PORT: .*; RERANK_TIMEOUT / TIMEOUT: "):
            read_settings()

    def test_a_wrong_value_on_the_command_line_is_reported(self) -> None:
        with pytest.raises(SettingsError, match=r"^RERANK_BATCH_SIZE / BATCH_SIZE: .*got '0'"):
            from_command_line(["--batch-size", "0"])

    @pytest.mark.parametrize("name", ["RERANK_API_KEY", "ACCESS_TOKEN"])
    def test_a_key_is_never_shown(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(name, "s3cret")
        monkeypatch.setenv("PORT", "http")
        with pytest.raises(SettingsError) as mistake:
            read_settings()
        assert "s3cret" not in str(mistake.value)

    def test_a_wrong_key_is_not_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        problem = InitErrorDetails(type="string_type", loc=("rerank_api_key",), input="s3cret")
        refuse_with(monkeypatch, ValidationError.from_exception_data("Settings", [problem]))
        with pytest.raises(SettingsError) as mistake:
            read_settings()
        assert str(mistake.value).startswith("RERANK_API_KEY / ACCESS_TOKEN: ")
        assert "s3cret" not in str(mistake.value)

    def test_an_unreadable_source_is_reported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        refuse_with(monkeypatch, UnreadableSetting("error parsing value for field"))
        with pytest.raises(SettingsError, match="error parsing value"):
            read_settings()


class TestStrictVllm:
    @pytest.mark.parametrize(
        ("strict", "dialect", "meant"),
        [("1", "", "strict-vllm"), ("true", "vllm", "strict-vllm"), ("0", "", "vllm"), ("0", "sglang", "sglang")],
    )
    def test_strict_vllm_is_a_former_name_of_a_dialect(
        self, strict: str, dialect: str, meant: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RERANK_STRICT_VLLM", strict)
        monkeypatch.setenv("RERANK_DIALECT", dialect)
        assert read_settings().dialect == meant


class TestUnknownNames:
    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("RERANK_BATCH_SIZ", "RERANK_BATCH_SIZE"),
            ("RERANK_DEVICE", "RERANK_MODEL_DEVICE"),
            ("RERANK_API_KEYS", "RERANK_API_KEY"),
        ],
    )
    def test_an_unknown_name_is_refused_with_the_nearest_one(
        self, name: str, meant: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(name, "s3cret")
        with pytest.raises(SettingsError) as mistake:
            read_settings()
        assert str(mistake.value).startswith(f"{name} is not a setting. Did you mean {meant}? ")
        assert "s3cret" not in str(mistake.value)

    def test_an_unknown_name_that_resembles_nothing_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RERANK_QQQQQQQQQQQQQQQQQQQQ", "1")
        with pytest.raises(SettingsError, match=r"is not a setting\. `rerank serve --help`"):
            read_settings()

    def test_an_unknown_name_in_dot_env_is_refused(self, dot_env: WriteDotEnv) -> None:
        dot_env("RERANK_TIMEOUTS=5\n")
        with pytest.raises(SettingsError, match="Did you mean RERANK_TIMEOUT"):
            read_settings()

    def test_the_settings_of_the_client_are_ignored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RERANK_BASE_URL", "http://localhost:8000")
        assert read_settings().port == 8000

    def test_unknown_names_without_the_prefix_are_ignored(
        self, monkeypatch: pytest.MonkeyPatch, dot_env: WriteDotEnv
    ) -> None:
        monkeypatch.setenv("KEEP_ALIVES", "5")
        dot_env("OTHER_PROGRAM=1\n")
        assert read_settings().http_keep_alive == 75


class TestKeys:
    @pytest.mark.parametrize(
        ("text", "keys"),
        [(None, ()), ("first-key", ("first-key",)), (" first-key , ,second-key, ", ("first-key", "second-key"))],
    )
    def test_keys_are_separated_by_commas(
        self, text: str | None, keys: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if text is not None:
            monkeypatch.setenv("RERANK_API_KEY", text)
        assert read_settings().api_keys == keys

    def test_keys_are_masked_when_settings_are_printed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ACCESS_TOKEN", "s3cret-key")
        settings = read_settings()
        assert settings.api_keys == ("s3cret-key",)
        assert "s3cret" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


class TestListenHost:
    @pytest.mark.parametrize(
        ("arguments", "guarded", "address"),
        [
            ([], False, "127.0.0.1"),
            ([], True, "0.0.0.0"),
            (["--host", "10.0.0.1"], True, "10.0.0.1"),
            (["--host", "0.0.0.0"], False, "0.0.0.0"),
            (["--host", "127.0.0.1"], True, "127.0.0.1"),
        ],
    )
    def test_is_open_to_others_only_with_a_key_or_by_will(
        self, arguments: list[str], guarded: bool, address: str
    ) -> None:
        assert from_command_line(arguments).listen_host(guarded=guarded) == address


@pytest.mark.parametrize("device", ["auto", "cpu", "mps", "cuda", "cuda:1", "cuda:0,cuda:2", "cuda:0, CUDA:12"])
def test_devices_are_one_or_several_gpus(device: str) -> None:
    assert from_command_line(["--model-device", device]).device == device.lower()


def test_preloaded_models_are_separated_by_commas() -> None:
    assert read_settings().preloaded_models is None
    assert from_command_line(["--rerank-preload", "None"]).preloaded_models == ()
    assert from_command_line(["--rerank-preload", "bge-reranker-base, org/name,"]).preloaded_models == (
        "bge-reranker-base",
        "org/name",
    )


def test_settings_cannot_be_changed_later() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read_settings().port = 1  # type: ignore[misc]


def test_nothing_is_read_at_import(dot_env: WriteDotEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    dot_env("RERANK_NONSENSE=1\nRERANK_PORT=http\n")
    monkeypatch.setenv("RERANK_TIMEOUT", "never")
    root = Path(__file__).resolve().parents[3]
    program = f"import sys; sys.path.insert(0, {str(root)!r}); import rerank.settings, rerank_server"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


class TestDotEnvThatCannotBeRead:
    def test_an_open_quote_stops_the_start_instead_of_dropping_the_key(self, dot_env: WriteDotEnv) -> None:
        dot_env('PORT=9000\nRERANK_API_KEY="secret\n')

        with pytest.raises(SettingsError, match="line 2") as stopped:
            read_settings()
        assert "secret" not in str(stopped.value)

    def test_an_unknown_encoding_stops_the_start(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_bytes(b"PORT=\xff\xfe")

        with pytest.raises(SettingsError, match="cannot be read"):
            read_settings()


def test_a_key_setting_without_a_key_does_not_open_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANK_API_KEY", " , ")

    with pytest.raises(SettingsError, match=r"RERANK_API_KEY.*holds no key"):
        read_settings()


@pytest.mark.parametrize(
    "place",
    [
        *("", "redis", "file:", "file: ", "postgres://host", "redis://", "redis://:6379", "http://host:6379"),
        *("redis://host:port", "redis://host/one", "redis://host/0?ssl_cert_reqs=none", "redis://host:99999"),
    ],
)
def test_a_place_for_the_cache_that_cannot_be_is_refused(place: str) -> None:
    with pytest.raises(SettingsError, match=r"^RERANK_CACHE: it can be off, memory, file:PATH or redis://"):
        from_command_line(["--cache", place])


@pytest.mark.parametrize(
    "place",
    ["off", " Memory ", "file:scores.db", "file:/var/cache/scores.db", "redis://host", "rediss://u:p@[::1]:7/2"],
)
def test_a_place_for_the_cache_is_off_memory_a_file_or_redis(place: str) -> None:
    assert from_command_line(["--cache", place]).cache in (place, place.strip().lower())


def test_the_password_of_redis_stands_in_no_error_and_no_description() -> None:
    with pytest.raises(SettingsError) as refused:
        from_command_line(["--cache", "redis://user:a-sec@ret@host:port"])
    assert "a-sec" not in str(refused.value)
    assert "ret@" not in str(refused.value)
    assert "a-secret" not in repr(from_command_line(["--cache", "redis://:a-secret@host"]))


@pytest.mark.parametrize("ttl", ["0", "-1", "nan", "inf", "soon"])
def test_scores_are_kept_for_a_time_that_can_be(ttl: str) -> None:
    with pytest.raises(SettingsError, match=r"^RERANK_CACHE_TTL: "):
        from_command_line(["--cache-ttl", ttl])


@pytest.mark.parametrize("address", ["", "host:6379", "http://host", "redis://", "redis://host?db=1", "memory"])
def test_an_address_of_the_shared_state_that_cannot_be_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match=r"^RERANK_STATE_URL: it has to be redis://HOST:PORT/0"):
        from_command_line(["--state-url", address])


@pytest.mark.parametrize("name", ["RERANK_STATE_URL", "RERANK_CACHE"])
def test_an_address_with_tls_may_name_an_authority(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = "rediss://:secret@redis.example:6380/0?ssl_ca_certs=/etc/ssl/own.pem"
    monkeypatch.setenv(name, address)
    settings = read_settings()
    assert address in (settings.state_url, settings.cache)


@pytest.mark.parametrize(
    "address",
    [
        "redis://host?ssl_ca_certs=own.pem",
        "rediss://host?ssl_ca_certs=",
        "rediss://host?ssl_ca_certs=own.pem&ssl_cert_reqs=none",
        "rediss://host?ssl_cert_reqs=none",
        "rediss://host?ssl_ca_certs=own.pem#more",
    ],
)
def test_an_address_has_no_other_option(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANK_STATE_URL", address)
    with pytest.raises(SettingsError, match=r"^RERANK_STATE_URL: it has to be redis://HOST:PORT/0"):
        read_settings()


@pytest.mark.parametrize(
    ("name", "address", "shown"),
    [
        ("RERANK_STATE_URL", "redis:/:secretpw@host:6379", "***@host:6379"),
        ("RERANK_STATE_URL", ":secretpw@host:6379", "***@host:6379"),
        ("RERANK_CACHE", "redis:secretpw@host:6379", "***@host:6379"),
        ("RERANK_CACHE", "me:secretpw@host://x@y", "***@y"),
        ("HF_ENDPOINT", "user:secretpw@mirror", "***@mirror"),
        ("HF_ENDPOINT", "https://user:secretpw@[::1", "https://***@[::1"),
        ("HF_ENDPOINT", "https://user:secretpw@h\u2100.co", "https://***@h\u2100.co"),
        ("HF_ENDPOINT", "https://hub:port", "https://hub:port"),
        ("HF_ENDPOINT", "https://hub:0", "https://hub:0"),
        ("HF_ENDPOINT", "https://", "https://"),
        ("HF_ENDPOINT", "https://user:secretpw@", "https://***@"),
    ],
)
def test_a_refused_address_is_shown_without_its_password(
    name: str, address: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, address)
    with pytest.raises(SettingsError) as refused:
        read_settings()
    assert str(refused.value).endswith(f"(got {shown!r})")
    assert "secretpw" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("name", ["RERANK_API_KEY", "rerank_admin_key", "HF_TOKEN"])
def test_a_key_in_dot_env_that_would_be_changed_is_refused(name: str, dot_env: WriteDotEnv) -> None:
    dot_env(f"{name}='pass${{NOPE}}word'\n")
    with pytest.raises(SettingsError, match=rf"^\.env: {name} holds \$\{{\.\.\.\}}, which is replaced") as refused:
        read_settings()
    assert "pass" not in str(refused.value)


def test_paths_in_dot_env_may_name_variables(dot_env: WriteDotEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_FOLDER", "/srv")
    dot_env("RERANK_MODELS_DIR=${SOME_FOLDER}/models\nRERANK_KEYS_FILE=${SOME_FOLDER}/keys.toml\n")
    assert read_settings().models_dir == Path("/srv/models")


def test_a_password_of_the_shared_state_is_never_shown() -> None:
    with pytest.raises(SettingsError) as refused:
        from_command_line(["--state-url", "redis://user:a-sec@ret@host:port"])
    assert "a-sec" not in str(refused.value)
    assert "a-secret" not in repr(from_command_line(["--state-url", "redis://:a-secret@host"]))


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ([], "memory"),
        (["--state-url", "redis://host"], "redis://host"),
        (["--state-url", "redis://host", "--cache", "memory"], "memory"),
        (["--state-url", "redis://host", "--cache", "off"], "off"),
        (["--state-url", "redis://host", "--cache", "redis://other"], "redis://other"),
    ],
)
def test_the_cache_is_kept_with_the_shared_state_unless_it_has_a_place_of_its_own(
    options: list[str], place: str
) -> None:
    assert from_command_line(options).cache_place == place
