"""Settings by group: names, defaults, constraints. The docstring of a group is its heading in the help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ValidationInfo, field_validator

from rerank.settings.sources import SourcedSettings, setting
from rerank.settings.values import (
    Amount,
    AnyCase,
    Devices,
    Host,
    HubAddress,
    Keys,
    LogFormat,
    Memory,
    Precision,
    Seconds,
    UserPath,
)


class NetworkSettings(SourcedSettings):
    """Network"""

    host: Host | None = setting(
        "RERANK_HOST HOST",
        None,
        "Address to listen on. Default: 0.0.0.0 if a key is set, otherwise 127.0.0.1 (this machine only).",
    )
    port: int = setting("RERANK_PORT PORT", 8000, "Port to listen on.", ge=0, le=65535)
    max_connections: int | None = setting(
        "RERANK_MAX_CONNECTIONS MAX_CONNECTIONS",
        None,
        "Maximum open connections, three quarters of them from one address; further ones are answered 503. Default: "
        "three quarters of the process's file descriptors, at most 2048.",
        ge=1,
    )
    http_keep_alive: int = setting(
        "RERANK_HTTP_KEEP_ALIVE HTTP_KEEP_ALIVE KEEP_ALIVE", 75, "Seconds to keep an idle connection open.", ge=1
    )
    receive_timeout: float = setting(
        "RERANK_RECEIVE_TIMEOUT RECEIVE_TIMEOUT",
        30.0,
        "Seconds to receive the head of a request, and its body (with a second more for each 10 kB).",
        gt=0,
        allow_inf_nan=False,
    )
    send_timeout: float = setting(
        "RERANK_SEND_TIMEOUT SEND_TIMEOUT",
        60.0,
        "Seconds for a client to read its answer, or 64 kB more of it; then the connection is closed.",
        gt=0,
        allow_inf_nan=False,
    )
    drain_timeout: float = setting(
        "RERANK_DRAIN_TIMEOUT DRAIN_TIMEOUT", 25, "Seconds to let in-flight requests finish on shutdown.", ge=0
    )


class AccessSettings(SourcedSettings):
    """Access"""

    api_key: Keys | None = setting(
        "RERANK_API_KEY ACCESS_TOKEN",
        None,
        "API keys, separated by commas. Default: none, everyone who can connect has access.",
    )
    admin_key: Keys | None = setting(
        "RERANK_ADMIN_KEY",
        None,
        "Admin keys, separated by commas: they may load, unload and pin models. Default: none, only clients on this "
        "machine may.",
    )
    keys_file: UserPath = setting(
        "RERANK_KEYS_FILE",
        Path("keys.toml"),
        "File with named API keys and their limits; need not exist. `rerank key new NAME` adds one.",
    )
    allowed_hosts: str | None = setting(
        "RERANK_ALLOWED_HOSTS ALLOWED_HOSTS",
        None,
        "Host names under which a server without a key answers, in addition to those of this machine, separated by "
        "commas; * allows all. Default: none for requests from this machine, all for others.",
    )
    cors_origins: str | None = setting(
        "RERANK_CORS_ORIGINS",
        None,
        "Origins of web pages whose scripts may use the server, separated by commas, such as https://chat.example.",
    )
    open_metrics: bool = setting("RERANK_OPEN_METRICS", False, "Serve /metrics without a key.")


class ModelSettings(SourcedSettings):
    """Models"""

    default_model: str | None = setting(
        "RERANK_DEFAULT_MODEL RERANK_MODEL_NAME_OR_PATH MODEL_NAME_OR_PATH",
        None,
        "Model for requests that name none: a known name, a folder or a Hub repository. Default: "
        "BAAI/bge-reranker-large if it is on disk, otherwise the bundled English model.",
    )
    preload: str | None = setting(
        "RERANK_PRELOAD",
        None,
        "Models to load at start, separated by commas, or none; others load at their first request. Default: the "
        "default model, if it is on disk.",
    )
    models_dir: UserPath = setting("RERANK_MODELS_DIR", Path("models"), "Folder with one folder of weights per model.")
    models_file: UserPath = setting(
        "RERANK_MODELS_FILE", Path("models.toml"), "File with cards of further models; need not exist."
    )
    hf_endpoint: HubAddress | None = setting(
        "RERANK_HF_ENDPOINT HF_ENDPOINT",
        None,
        "Address of a Hugging Face Hub mirror, such as https://hf-mirror.com.",
    )
    downloads: Annotated[Literal["catalogue", "configured", "off"], AnyCase] = setting(
        "RERANK_DOWNLOADS",
        "catalogue",
        "Models to download from the Hub on request. catalogue: all known ones; configured: those named in settings, "
        "models file and keys file; off: none.",
    )
    min_free_disk: Amount = setting(
        "RERANK_MIN_FREE_DISK", "2GB", "Minimum disk space that downloads leave free: 2GB, 500MiB or bytes."
    )
    keep_alive: Seconds = setting(
        "RERANK_MODEL_KEEP_ALIVE MODEL_KEEP_ALIVE RERANK_KEEP_ALIVE",
        0,
        "Time to keep an idle model in memory: seconds, 10m or 1h; 0: forever.",
        ge=0,
    )


class DeviceSettings(SourcedSettings):
    """Devices and memory"""

    device: Devices = setting(
        "RERANK_MODEL_DEVICE MODEL_DEVICE",
        "auto",
        "auto, cpu, mps, cuda (every GPU, each with a copy of every model), cuda:1 or cuda:0,cuda:2. auto takes "
        "the first GPU if there is one.",
    )
    precision: Precision = setting(
        "RERANK_MODEL_PRECISION MODEL_PRECISION",
        "auto",
        "auto, fp32, bf16, fp16 or int8. auto is bf16 if the device has it (on a CPU: avx512_bf16 or AMX, in "
        "OpenVINO), otherwise fp16 on a GPU and fp32 on a CPU. int8 runs only in OpenVINO on a CPU, and is the least "
        "exact.",
    )
    runtime: Annotated[Literal["auto", "openvino", "torch"], AnyCase] = setting(
        "RERANK_MODEL_RUNTIME MODEL_RUNTIME",
        "auto",
        "auto, openvino or torch. auto is OpenVINO on a CPU, torch on a GPU. A converted model is kept under "
        "models/.openvino.",
    )
    memory_budget: Memory = setting(
        "RERANK_MEMORY_BUDGET MEMORY_BUDGET RERANK_MAX_MEMORY_PERCENTAGE MAX_MEMORY_PERCENTAGE",
        "90%",
        "Memory for models on each device: 8GB, 8GiB, bytes, or a percentage of what is free at start (80% or "
        "80). If a model does not fit, the least recently used idle ones are evicted.",
    )
    batch_size: int | None = setting(
        "RERANK_BATCH_SIZE BATCH_SIZE",
        None,
        "Maximum pairs per forward pass. Default: 8 on a CPU, where more only adds padding, or up to 64 that take 50 "
        "ms; 1024 on a GPU, where pairs are packed without padding and the tokens are the limit.",
        ge=1,
        le=4096,
    )
    batch_tokens: int | None = setting(
        "RERANK_BATCH_TOKENS BATCH_TOKENS",
        None,
        "Maximum tokens per forward pass, padding included; fewer if half of the free memory cannot hold them. More "
        "tokens make a new request wait longer. Default: 2048 on a CPU, 32768 on a GPU.",
        ge=1,
    )


class LimitSettings(SourcedSettings):
    """Limits of requests"""

    max_seq_length: int | None = setting(
        "RERANK_MAX_SEQ_LENGTH MAX_SEQ_LENGTH",
        None,
        "Maximum tokens per query-document pair, for all models. Default: what each model's card or checkpoint says.",
        ge=8,
    )
    long_documents: Annotated[Literal["cut", "chunk"], AnyCase] = setting(
        "RERANK_LONG_DOCUMENTS",
        "cut",
        "Documents longer than a model reads: cut, or chunk (read in up to 32 overlapping chunks, the best counts). "
        "Models' cards and requests may say otherwise.",
    )
    max_documents: int = setting("RERANK_MAX_DOCUMENTS MAX_DOCUMENTS", 5000, "Maximum documents per request.", ge=1)
    max_body_bytes: int = setting(
        "RERANK_MAX_BODY_BYTES MAX_BODY_BYTES", 32 * 1024 * 1024, "Maximum size of a request body, in bytes.", ge=1024
    )
    max_inflight_documents: int = setting(
        "RERANK_MAX_INFLIGHT_DOCUMENTS MAX_INFLIGHT_DOCUMENTS RERANK_MAX_WAITING_DOCUMENTS MAX_WAITING_DOCUMENTS",
        20000,
        "Maximum documents of all in-flight requests; further requests are answered 429.",
        ge=1,
    )
    max_inflight_tokens: int = setting(
        "RERANK_MAX_INFLIGHT_TOKENS MAX_INFLIGHT_TOKENS RERANK_MAX_QUEUE_TOKENS MAX_QUEUE_TOKENS",
        10_000_000,
        "Maximum tokens of all in-flight requests, as estimated from the length of their texts; further requests are "
        "answered 429.",
        ge=1,
    )
    max_inflight_bytes: int = setting(
        "RERANK_MAX_INFLIGHT_BYTES MAX_INFLIGHT_BYTES RERANK_MAX_QUEUE_BYTES MAX_QUEUE_BYTES",
        512 * 1024 * 1024,
        "Maximum size of the bodies of all in-flight requests, and of the memory of their texts; further requests are "
        "answered 429. In bytes.",
        ge=1024,
    )
    timeout: float = setting(
        "RERANK_TIMEOUT TIMEOUT", 300, "Maximum seconds per request, waiting for its model included.", gt=0
    )
    load_timeout: float = setting(
        "RERANK_LOAD_TIMEOUT LOAD_TIMEOUT",
        600,
        "Maximum seconds that a request waits for its model to load, within TIMEOUT; then 503, and the load continues.",
        gt=0,
    )


class ApiSettings(SourcedSettings):
    """API"""

    strict_vllm: bool | None = setting(
        "RERANK_STRICT_VLLM", None, "Former name of RERANK_DIALECT=strict-vllm.", deprecated=True
    )
    dialect: Annotated[Literal["vllm", "strict-vllm", "sglang"], AnyCase] = setting(
        "RERANK_DIALECT",
        "vllm",
        "API of /v1/rerank. vllm: an object, lenient; strict-vllm: refuse what vLLM refuses, and answer nothing more "
        "at its addresses; sglang: an array.",
        validate_default=True,
    )
    enable_tokenizer_info_endpoint: bool = setting(
        "RERANK_ENABLE_TOKENIZER_INFO_ENDPOINT",
        False,
        "Serve a model's tokenizer_config.json at GET /tokenizer_info.",
    )
    pages: bool = setting(
        "RERANK_PAGES", True, "Serve /playground for people, and documentation at /docs, /redoc and /openapi.json."
    )

    @field_validator("dialect")
    @classmethod
    def _as_strict_as_said(cls, dialect: str, info: ValidationInfo) -> str:
        strict = info.data.get("strict_vllm")
        if (strict and dialect == "sglang") or (strict is False and dialect == "strict-vllm"):
            raise ValueError(f"it contradicts RERANK_STRICT_VLLM={str(strict).lower()}; leave that one out")
        return "strict-vllm" if strict else dialect


class LogSettings(SourcedSettings):
    """Logging"""

    log_level: Annotated[Literal["debug", "info", "warning", "error"], AnyCase] = setting(
        "RERANK_LOG_LEVEL LOG_LEVEL", "info", "Minimum log level: debug, info, warning or error."
    )
    log_format: LogFormat = setting(
        "RERANK_LOG_FORMAT LOG_FORMAT",
        "text",
        "Format of log lines: text, json, or a format string of Python's logging such as %(asctime)s %(message)s; "
        "%(request_id)s is the request's id.",
    )
    log_texts: bool = setting(
        "RERANK_LOG_TEXTS", False, "Log queries and documents (for debugging; they may be private)."
    )
