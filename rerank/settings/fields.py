"""Every setting of the server: names, defaults, what a value may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import AliasChoices, Field, field_validator, model_validator

from rerank.settings.sources import SourcedSettings
from rerank.settings.values import (
    Amount,
    Devices,
    Host,
    HubAddress,
    Keys,
    LogFormat,
    Memory,
    Precision,
    Seconds,
    UserPath,
    bytes_of,
    split,
)


def _setting(names: str, default: Any, description: str, **constraints: Any) -> Any:
    """A field with its names in the environment, the clearest first."""
    alias = AliasChoices(*names.lower().split())
    return Field(default=default, validation_alias=alias, description=description, **constraints)


class Settings(SourcedSettings):
    """Serve rerank models.

    Instead: `rerank-server verify MODEL` compares a model's scores with known ones, `rerank-server models` shows the
    models of a running server, `rerank-server health` asks it whether it is alive, `rerank-server key new NAME` makes a
    key.

    Settings come from the command line, else the environment, else `.env`, else these defaults.
    """

    host: Host | None = _setting(
        "RERANK_HOST HOST",
        None,
        "Address to listen on. Default: 0.0.0.0 if a key is set, else 127.0.0.1 (this machine only).",
    )
    port: int = _setting("RERANK_PORT PORT", 8000, "Port to listen on.", ge=0, le=65535)
    api_key: Keys | None = _setting(
        "RERANK_API_KEY ACCESS_TOKEN",
        None,
        "Keys that may use the server, separated by commas. Default: none, everyone who can connect may.",
    )
    admin_key: Keys | None = _setting(
        "RERANK_ADMIN_KEY",
        None,
        "Keys that may load, unload and pin models, separated by commas. Default: none, only clients on this "
        "machine may.",
    )
    keys_file: UserPath = _setting(
        "RERANK_KEYS_FILE",
        Path("keys.toml"),
        "File with further keys, each with a name and limits of its own; need not exist. `rerank-server key new "
        "NAME` adds one.",
    )
    default_model: str | None = _setting(
        "RERANK_DEFAULT_MODEL RERANK_MODEL_NAME_OR_PATH MODEL_NAME_OR_PATH",
        None,
        "Model for requests that name none: a known name, a folder or a Hub repository. Default: "
        "BAAI/bge-reranker-large if it is on disk, else the embedded English model.",
    )
    preload: str | None = _setting(
        "RERANK_PRELOAD", None, "Models to load at start, separated by commas; others load at their first request."
    )
    models_dir: UserPath = _setting("RERANK_MODELS_DIR", Path("models"), "Folder with one folder of weights a model.")
    models_file: UserPath = _setting(
        "RERANK_MODELS_FILE", Path("models.toml"), "File with cards of further models; need not exist."
    )
    device: Devices = _setting(
        "RERANK_MODEL_DEVICE MODEL_DEVICE",
        "auto",
        "auto, cpu, mps, cuda (every GPU, each with a copy of every model), cuda:1 or cuda:0,cuda:2. auto takes "
        "the first GPU where there is one.",
    )
    precision: Precision = _setting(
        "RERANK_MODEL_PRECISION MODEL_PRECISION",
        "auto",
        "auto is bf16 where the device has it (on a CPU: avx512_bf16 or AMX, in OpenVINO), else fp16 on a GPU and "
        "fp32 on a CPU. int8 is for OpenVINO on a CPU, and the least exact.",
    )
    runtime: Literal["auto", "openvino", "torch"] = _setting(
        "RERANK_MODEL_RUNTIME MODEL_RUNTIME",
        "auto",
        "auto is OpenVINO on a CPU, torch on a GPU. A converted model is kept under models/.openvino.",
    )
    batch_size: int | None = _setting(
        "RERANK_BATCH_SIZE BATCH_SIZE",
        None,
        "Most pairs in one forward pass. Default: 8 on a CPU, where more only pads more; 1024 on a GPU, where "
        "pairs are packed without padding and the tokens are the limit.",
        ge=1,
        le=4096,
    )
    batch_tokens: int | None = _setting(
        "RERANK_BATCH_TOKENS BATCH_TOKENS",
        None,
        "Most tokens in one forward pass, padding included; fewer where half of the free memory would not hold "
        "them. Default: 2048 on a CPU, 32768 on a GPU. The larger, the longer a newcomer waits.",
        ge=1,
    )
    max_seq_length: int | None = _setting(
        "RERANK_MAX_SEQ_LENGTH MAX_SEQ_LENGTH",
        None,
        "Most tokens of a pair, for every model. Default: what each model's card or checkpoint says.",
        ge=8,
    )
    max_documents: int = _setting("RERANK_MAX_DOCUMENTS MAX_DOCUMENTS", 5000, "Most documents in one request.", ge=1)
    max_body_bytes: int = _setting(
        "RERANK_MAX_BODY_BYTES MAX_BODY_BYTES", 32 * 1024 * 1024, "Largest request body, in bytes.", ge=1024
    )
    max_waiting_documents: int = _setting(
        "RERANK_MAX_WAITING_DOCUMENTS MAX_WAITING_DOCUMENTS",
        20000,
        "Documents of all requests together that may be in work; beyond it the answer is 429.",
        ge=1,
    )
    max_queue_tokens: int = _setting(
        "RERANK_MAX_QUEUE_TOKENS MAX_QUEUE_TOKENS",
        10_000_000,
        "Tokens of all requests together that may be in work, as estimated from the length of their texts; beyond "
        "it the answer is 429.",
        ge=1,
    )
    max_queue_bytes: int = _setting(
        "RERANK_MAX_QUEUE_BYTES MAX_QUEUE_BYTES",
        512 * 1024 * 1024,
        "Bytes that the bodies of all requests together may have, and memory that their texts may take; beyond it the "
        "answer is 429.",
        ge=1024,
    )
    cached_pairs: int = _setting(
        "RERANK_CACHED_PAIRS",
        0,
        "How many scores of pairs are kept, and not computed again, while their model stays in memory: 0.4 kB "
        "each, of hashes and numbers. 0: none.",
        ge=0,
    )
    timeout: float = _setting(
        "RERANK_TIMEOUT TIMEOUT", 300, "Seconds a request may take, waiting for its model included.", gt=0
    )
    load_timeout: float = _setting(
        "RERANK_LOAD_TIMEOUT LOAD_TIMEOUT",
        600,
        "Seconds a request waits for its model to load, within TIMEOUT; then 503, and the load goes on.",
        gt=0,
    )
    memory_budget: Memory = _setting(
        "RERANK_MEMORY_BUDGET MEMORY_BUDGET RERANK_MAX_MEMORY_PERCENTAGE MAX_MEMORY_PERCENTAGE",
        "90%",
        "Memory for models on each device: 8GB, 8GiB, bytes, or a percentage of what is free at start (80% or "
        "80). A model that needs room takes that of the one idle for longest.",
    )
    keep_alive: Seconds = _setting(
        "RERANK_MODEL_KEEP_ALIVE MODEL_KEEP_ALIVE RERANK_KEEP_ALIVE",
        0,
        "How long an idle model stays in memory: seconds, 10m, 1h; 0: forever.",
        ge=0,
    )
    http_keep_alive: int = _setting(
        "RERANK_HTTP_KEEP_ALIVE HTTP_KEEP_ALIVE KEEP_ALIVE", 75, "Seconds an idle connection stays open.", ge=1
    )
    drain_timeout: float = _setting(
        "RERANK_DRAIN_TIMEOUT DRAIN_TIMEOUT",
        25,
        "Seconds that requests in work have to end when the server is told to stop.",
        ge=0,
    )
    dialect: Literal["vllm", "sglang"] = _setting(
        "RERANK_DIALECT", "vllm", "What /v1/rerank answers with: vllm's object, or sglang's array."
    )
    strict_vllm: bool = _setting(
        "RERANK_STRICT_VLLM",
        False,
        "Refuse what vLLM refuses, and answer at its addresses with nothing that it does not answer.",
    )
    receive_timeout: float = _setting(
        "RERANK_RECEIVE_TIMEOUT RECEIVE_TIMEOUT",
        30.0,
        "Seconds in which the head of a request must come, and its body (with a second for each 10 kB).",
        gt=0,
        allow_inf_nan=False,
    )
    send_timeout: float = _setting(
        "RERANK_SEND_TIMEOUT SEND_TIMEOUT",
        60.0,
        "Seconds in which a client must read its answer, or 64 kB more of it; then the connection is closed.",
        gt=0,
        allow_inf_nan=False,
    )
    max_connections: int | None = _setting(
        "RERANK_MAX_CONNECTIONS MAX_CONNECTIONS",
        None,
        "Maximum open connections, three quarters of them from one address; further ones are answered 503. Default: "
        "three quarters of the process's file descriptors, at most 2048.",
        ge=1,
    )
    allowed_hosts: str | None = _setting(
        "RERANK_ALLOWED_HOSTS ALLOWED_HOSTS",
        None,
        "Names under which a server without a key answers, besides those of this machine, separated by commas; *: any. "
        "Default: none where a request comes from this machine, else any.",
    )
    cors_origins: str | None = _setting(
        "RERANK_CORS_ORIGINS",
        None,
        "Web pages whose scripts may use the server, separated by commas, such as https://chat.example.",
    )
    open_metrics: bool = _setting("RERANK_OPEN_METRICS", False, "true: /metrics needs no key.")
    enable_tokenizer_info_endpoint: bool = _setting(
        "RERANK_ENABLE_TOKENIZER_INFO_ENDPOINT",
        False,
        "true: GET /tokenizer_info answers a model's tokenizer_config.json.",
    )
    pages: bool = _setting("RERANK_PAGES", True, "false: no documentation at /docs, /redoc and /openapi.json.")
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "RERANK_LOG_LEVEL LOG_LEVEL", "info", "Least level that is logged."
    )
    log_texts: bool = _setting(
        "RERANK_LOG_TEXTS", False, "true: queries and documents stand in the log. For debugging; they may be private."
    )
    log_format: LogFormat = _setting(
        "RERANK_LOG_FORMAT LOG_FORMAT",
        "text",
        "Form of a log line: text, json, or a format string of Python's logging such as %(asctime)s %(message)s; "
        "%(request_id)s is the request's id.",
    )
    hf_endpoint: HubAddress | None = _setting(
        "RERANK_HF_ENDPOINT HF_ENDPOINT",
        None,
        "Address of a Hugging Face Hub mirror, for example https://hf-mirror.com.",
    )
    downloads: Literal["catalogue", "configured", "off"] = _setting(
        "RERANK_DOWNLOADS",
        "catalogue",
        "Models that are fetched from the Hub when somebody asks for them. catalogue: all known ones; configured: "
        "those that settings, models file and keys file name; off: none.",
    )
    min_free_disk: Amount = _setting(
        "RERANK_MIN_FREE_DISK", "2GB", "Disk space that downloads leave free: 2GB, 500MiB or bytes."
    )

    @field_validator("dialect", "log_level", "runtime", "downloads", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.strip().lower() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _speak_one_dialect(self) -> Self:
        if self.strict_vllm and self.dialect != "vllm":
            raise ValueError(f"RERANK_STRICT_VLLM and RERANK_DIALECT={self.dialect} contradict each other")
        return self

    @property
    def api_keys(self) -> tuple[str, ...]:
        """The keys in plain text; none means the server is open."""
        return split(self.api_key.get_secret_value()) if self.api_key else ()

    @property
    def admin_keys(self) -> tuple[str, ...]:
        """The operators' keys in plain text; none means that only this machine may administer."""
        return split(self.admin_key.get_secret_value()) if self.admin_key else ()

    @property
    def preloaded_models(self) -> tuple[str, ...]:
        """Names of the models to load at start."""
        return split(self.preload or "")

    @property
    def min_free_bytes(self) -> int:
        """Bytes of the disk that downloads leave free."""
        return bytes_of(self.min_free_disk)

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """Origins of web pages whose scripts may use the server."""
        return split(self.cors_origins or "")

    @property
    def host_names(self) -> tuple[str, ...]:
        """Names under which a server without a key answers, besides those of this machine."""
        return split(self.allowed_hosts or "")

    def listen_host(self, *, guarded: bool) -> str:
        """The address to listen on: open to others only if keys guard it or the operator says so."""
        everywhere = "0.0.0.0"  # noqa: S104  # nosec B104  # only where keys guard it
        return self.host or (everywhere if guarded else "127.0.0.1")

    @property
    def local_host(self) -> str:
        """The address at which this machine itself reaches the server."""
        host = self.host or "127.0.0.1"
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # nosec B104


def setting_names() -> dict[str, tuple[str, ...]]:
    """Environment names of every setting, by field."""
    names: dict[str, tuple[str, ...]] = {}
    for field, info in Settings.model_fields.items():
        alias = info.validation_alias
        names[field] = tuple(str(name).upper() for name in alias.choices) if isinstance(alias, AliasChoices) else ()
    return names
