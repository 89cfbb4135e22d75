"""Every setting of the server: names, defaults, what a value may be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from rerank.units import parse_memory, parse_seconds

ENV_FILE = ".env"


def _seconds(value: Any) -> Any:
    return parse_seconds(value) if isinstance(value, str) else value


def _named(*names: str) -> AliasChoices:
    return AliasChoices(*names)


class Settings(BaseSettings):
    """Serve rerank models. `rerank-server verify MODEL` instead compares a model's scores with known ones.

    Settings come from the command line, else the environment, else `.env`, else these defaults.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        env_file=ENV_FILE,
        extra="ignore",
        # an empty line in .env, as `RERANK_API_KEY=`, means the default
        env_ignore_empty=True,
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_prog_name="rerank-server",
    )

    host: str | None = Field(
        default=None,
        validation_alias=_named("rerank_host", "host"),
        description="Address to listen on. Default: 0.0.0.0 if a key is set, else 127.0.0.1 (this machine only).",
    )
    port: int = Field(
        default=8000, ge=0, le=65535, validation_alias=_named("rerank_port", "port"), description="Port to listen on."
    )
    api_key: SecretStr | None = Field(
        default=None,
        validation_alias=_named("rerank_api_key", "access_token"),
        description="Keys that may use the server, separated by commas. Default: none, everyone who can connect may.",
    )
    admin_key: SecretStr | None = Field(
        default=None,
        validation_alias=_named("rerank_admin_key"),
        description="Keys that may load, unload and pin models, separated by commas. Default: none, only clients on "
        "this machine may.",
    )
    keys_file: Path = Field(
        default=Path("keys.toml"),
        validation_alias=_named("rerank_keys_file"),
        description="File with further keys, each with a name and limits of its own; need not exist. "
        "`rerank-server key new NAME` adds one.",
    )
    default_model: str | None = Field(
        default=None,
        validation_alias=_named("rerank_default_model"),
        description="Model for requests that name none: a known name or a Hub repository. "
        "Default: BAAI/bge-reranker-large if it is on disk, else the embedded English model.",
    )
    preload: str | None = Field(
        default=None,
        validation_alias=_named("rerank_preload"),
        description="Models to load at start, separated by commas; others load at their first request.",
    )
    models_dir: Path = Field(
        default=Path("models"),
        validation_alias=_named("rerank_models_dir"),
        description="Folder with one folder of weights a model.",
    )
    models_file: Path = Field(
        default=Path("models.toml"),
        validation_alias=_named("rerank_models_file"),
        description="File with cards of further models; need not exist.",
    )
    device: str = Field(
        default="auto",
        validation_alias=_named("rerank_model_device", "model_device"),
        description="auto, cpu, mps, cuda (every GPU, each with a copy of every model), cuda:1 or cuda:0,cuda:2. "
        "auto takes the first GPU where there is one.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = Field(
        default="auto",
        validation_alias=_named("rerank_model_precision", "model_precision"),
        description="auto is bf16 where the device has it (on a CPU: avx512_bf16 or AMX, in OpenVINO), else fp16 on a "
        "GPU and fp32 on a CPU. int8 is for OpenVINO on a CPU, and the least exact.",
    )
    runtime: Literal["auto", "openvino", "torch"] = Field(
        default="auto",
        validation_alias=_named("rerank_model_runtime", "model_runtime"),
        description="auto is OpenVINO on a CPU, torch on a GPU. A converted model is kept under models/.openvino.",
    )
    batch_size: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        validation_alias=_named("rerank_batch_size", "batch_size"),
        description="Most pairs in one forward pass. Default: 8 on a CPU, where more only pads more; 1024 on a GPU, "
        "where pairs are packed without padding and the tokens are the limit.",
    )
    batch_tokens: int | None = Field(
        default=None,
        ge=1,
        validation_alias=_named("rerank_batch_tokens", "batch_tokens"),
        description="Most tokens in one forward pass, padding included; fewer where half of the free memory would not "
        "hold them. Default: 2048 on a CPU, 32768 on a GPU. The larger, the longer a newcomer waits.",
    )
    max_seq_length: int | None = Field(
        default=None,
        ge=8,
        validation_alias=_named("rerank_max_seq_length", "max_seq_length"),
        description="Most tokens of a pair, for every model. Default: what each model's card or checkpoint says.",
    )
    max_documents: int = Field(
        default=5000,
        ge=1,
        validation_alias=_named("rerank_max_documents", "max_documents"),
        description="Most documents in one request.",
    )
    max_body_bytes: int = Field(
        default=32 * 1024 * 1024,
        ge=1024,
        validation_alias=_named("rerank_max_body_bytes", "max_body_bytes"),
        description="Largest request body, in bytes.",
    )
    max_waiting_documents: int = Field(
        default=20000,
        ge=1,
        validation_alias=_named("rerank_max_waiting_documents", "max_waiting_documents"),
        description="Documents of all requests together that may be in work; beyond it the answer is 429.",
    )
    max_queue_tokens: int = Field(
        default=10_000_000,
        ge=1,
        validation_alias=_named("rerank_max_queue_tokens", "max_queue_tokens"),
        description="Tokens of all requests together that may be in work, as estimated from the length of their texts; "
        "beyond it the answer is 429.",
    )
    max_queue_bytes: int = Field(
        default=512 * 1024 * 1024,
        ge=1024,
        validation_alias=_named("rerank_max_queue_bytes", "max_queue_bytes"),
        description="Bytes that the bodies of all requests together may have; beyond it the answer is 429.",
    )
    timeout: float = Field(
        default=300,
        gt=0,
        validation_alias=_named("rerank_timeout", "timeout"),
        description="Seconds a request may take, waiting for its model included.",
    )
    load_timeout: float = Field(
        default=600,
        gt=0,
        validation_alias=_named("rerank_load_timeout", "load_timeout"),
        description="Seconds a request waits for its model to load, within TIMEOUT; then 503, and the load goes on.",
    )
    memory_budget: str = Field(
        default="90%",
        validation_alias=_named(
            "rerank_memory_budget", "memory_budget", "rerank_max_memory_percentage", "max_memory_percentage"
        ),
        description="Memory for models on each device: 8GB, 8GiB, bytes, or a percentage of what is free at start (80% "
        "or 80). A model that needs room takes that of the one idle for longest.",
    )
    keep_alive: Annotated[float, BeforeValidator(_seconds), Field(ge=0)] = Field(
        default=0,
        validation_alias=_named("rerank_keep_alive", "keep_alive"),
        description="How long an idle model stays in memory: seconds, 10m, 1h; 0: for ever.",
    )
    http_keep_alive: int = Field(
        default=75,
        ge=1,
        validation_alias=_named("rerank_http_keep_alive", "http_keep_alive"),
        description="Seconds an idle connection stays open.",
    )
    drain_timeout: float = Field(
        default=25,
        ge=0,
        validation_alias=_named("rerank_drain_timeout", "drain_timeout"),
        description="Seconds that requests in work have to end when the server is told to stop.",
    )
    dialect: Literal["vllm", "sglang"] = Field(
        default="vllm",
        validation_alias=_named("rerank_dialect"),
        description="What /v1/rerank answers with: vllm's object, or sglang's array.",
    )
    strict_vllm: bool = Field(
        default=False,
        validation_alias=_named("rerank_strict_vllm"),
        description="Refuse what vLLM refuses, and answer at its addresses with nothing that it does not answer.",
    )
    receive_timeout: float = Field(
        default=30.0,
        gt=0,
        allow_inf_nan=False,
        validation_alias=_named("rerank_receive_timeout", "receive_timeout"),
        description="Seconds in which the head of a request must come, and its body (with a second for each 10 kB).",
    )
    cors_origins: str | None = Field(
        default=None,
        validation_alias=_named("rerank_cors_origins"),
        description="Web pages whose scripts may use the server, separated by commas, such as https://chat.example.",
    )
    open_metrics: bool = Field(
        default=False,
        validation_alias=_named("rerank_open_metrics"),
        description="true: /metrics needs no key.",
    )
    pages: bool = Field(
        default=True,
        validation_alias=_named("rerank_pages"),
        description="false: no documentation at /docs, /redoc and /openapi.json.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        validation_alias=_named("rerank_log_level", "log_level"),
        description="Least level that is logged.",
    )
    log_texts: bool = Field(
        default=False,
        validation_alias=_named("rerank_log_texts"),
        description="true: queries and documents stand in the log. For debugging; they may be private.",
    )
    log_format: Literal["text", "json"] = Field(
        default="text", validation_alias=_named("rerank_log_format", "log_format"), description="Form of a log line."
    )
    hf_endpoint: str | None = Field(
        default=None,
        validation_alias=_named("rerank_hf_endpoint", "hf_endpoint"),
        description="Address of a Hugging Face Hub mirror, for example https://hf-mirror.com.",
    )

    @field_validator("dialect", "log_level", "log_format", "device", "precision", "runtime", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("device")
    @classmethod
    def _names_devices(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda|cuda:\d+(\s*,\s*cuda:\d+)*", value):
            raise ValueError("it can be auto, cpu, mps, cuda (every GPU) or GPUs by number: cuda:1 or cuda:0,cuda:2")
        return value

    @field_validator("hf_endpoint")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("it has to be a whole address that begins with https:// or http://")
        return value

    @field_validator("memory_budget")
    @classmethod
    def _is_an_amount(cls, value: str) -> str:
        if parse_memory(value, whole=100) <= 0:
            raise ValueError("it must be more than nothing")
        return value

    @field_validator("api_key", "admin_key")
    @classmethod
    def _names_a_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _split(value.get_secret_value()):
            raise ValueError("it is set, but holds no key")
        return value

    @model_validator(mode="after")
    def _speak_one_dialect(self) -> Self:
        if self.strict_vllm and self.dialect != "vllm":
            raise ValueError(f"RERANK_STRICT_VLLM and RERANK_DIALECT={self.dialect} contradict each other")
        return self

    @property
    def api_keys(self) -> tuple[str, ...]:
        """The keys in plain text; none means the server is open."""
        return _split(self.api_key.get_secret_value()) if self.api_key else ()

    @property
    def admin_keys(self) -> tuple[str, ...]:
        """The operators' keys in plain text; none means that only this machine may administer."""
        return _split(self.admin_key.get_secret_value()) if self.admin_key else ()

    @property
    def preloaded_models(self) -> tuple[str, ...]:
        """Names of the models to load at start."""
        return _split(self.preload or "")

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """Origins of web pages whose scripts may use the server."""
        return _split(self.cors_origins or "")

    def listen_host(self, *, guarded: bool) -> str:
        """The address to listen on: open to others only if keys guard it or the operator says so."""
        everywhere = "0.0.0.0"  # noqa: S104  # nosec B104  # only where keys guard it
        return self.host or (everywhere if guarded else "127.0.0.1")


def setting_names() -> dict[str, tuple[str, ...]]:
    """Environment names of every setting, by field."""
    names: dict[str, tuple[str, ...]] = {}
    for field, info in Settings.model_fields.items():
        alias = info.validation_alias
        names[field] = tuple(str(name).upper() for name in alias.choices) if isinstance(alias, AliasChoices) else ()
    return names


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
