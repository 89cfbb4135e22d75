"""Settings from the command line, the environment and `.env`; errors name the setting that is unknown or wrong."""

from __future__ import annotations

import difflib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import ValidationError
from pydantic_settings.exceptions import SettingsError as UnreadableSetting

from rerank.errors import SettingsError
from rerank.openmp import shorten_spinning
from rerank.settings.fields import Settings, setting_names
from rerank.settings.service_links import without_service_links
from rerank.settings.sources import ENV_ENCODING, ENV_FILE
from rerank.settings.values import without_password

WORKERS_NAMES = ("RERANK_WORKERS", "WORKERS", "WEB_CONCURRENCY")
"""Other servers' settings for the number of processes; 1 is accepted."""
_WITHOUT_EFFECT = ("WORKER_CLASS", "WORKER_CONNECTIONS")
"""Gunicorn's settings, for processes that this server does not have."""
# the first is read by rerank_client.py, which may run in the same shell
_NOT_OURS = {"RERANK_BASE_URL", *WORKERS_NAMES}
_KEEP_ALIVES = {"KEEP_ALIVE", "RERANK_KEEP_ALIVE"}


def read_settings(given: Mapping[str, Any] | None = None) -> Settings:
    """Settings from the environment and `.env`; those ``given`` by the first of their names override them.

    Raises SettingsError naming the setting that is unknown or wrong.
    """
    from_file = read_env_file()
    try:
        settings = Settings(**(given or {}))
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(dict(problem)) for problem in error.errors())) from None
    except UnreadableSetting as error:
        raise SettingsError(str(error)) from error
    _refuse_unknown(without_service_links(os.environ))
    _refuse_unknown(from_file)
    return settings


def read_env_file() -> dict[str, str | None]:
    """The variables in `.env`, none if there is no such file. Raises SettingsError for a file that cannot be read."""
    _check_env_file()
    return dotenv_values(ENV_FILE, encoding=ENV_ENCODING)


def prepare_libraries() -> None:
    """Set libraries' environment variables: those in `.env`, such as HF_TOKEN, and how long OpenMP's threads spin.

    To be called before the libraries are imported: most read the environment only then. The environment wins over
    `.env`; an empty value means the default, as for settings. Raises SettingsError.
    """
    ours = {name for names in setting_names().values() for name in names} | set(_WITHOUT_EFFECT)
    for name, value in read_env_file().items():
        if value and name.upper() not in ours | _NOT_OURS:
            os.environ.setdefault(name, value)
    shorten_spinning()


def remarks_on_names() -> list[str]:
    """Remarks for the operator on names that are set: those without effect, and those easily confused."""
    given = {name.upper() for name, value in (read_env_file() | dict(os.environ)).items() if value}
    remarks = []
    if idle := [name for name in _WITHOUT_EFFECT if name in given]:
        remarks.append(f"without effect, as one process serves everything: {', '.join(idle)}")
    if given & _KEEP_ALIVES:
        remarks.append(
            "KEEP_ALIVE is for idle connections (HTTP_KEEP_ALIVE), RERANK_KEEP_ALIVE for idle models "
            "(RERANK_MODEL_KEEP_ALIVE)"
        )
    return remarks


def _check_env_file() -> None:
    """Raise SettingsError for a line that cannot be parsed: dotenv would only warn, and drop what may be the key."""
    file = Path(ENV_FILE)
    if not file.exists():
        return
    if file.is_dir():
        raise SettingsError(
            f"{ENV_FILE} is a folder. Docker makes one where a file to be mounted does not exist: remove it, and write "
            "the file if you need one."
        )
    try:
        bindings = list(parse_stream(io.StringIO(file.read_text(encoding=ENV_ENCODING))))
    except (UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"{ENV_FILE} cannot be read: {error}") from error
    for binding in bindings:
        if binding.error:
            raise SettingsError(f"{ENV_FILE}: line {binding.original.line} cannot be read; is a quote left open?")
        if "${" in (binding.value or "") and _is_secret(binding.key or ""):
            raise SettingsError(
                f"{ENV_FILE}: {binding.key} holds ${{...}}, which is replaced in this file. Set it in the environment, "
                "or take another key."
            )


def _is_secret(name: str) -> bool:
    """True for names of keys and tokens; one of a file is a path."""
    return any(word in name.upper() for word in ("KEY", "TOKEN")) and not name.upper().endswith(("_FILE", "_PATH"))


def _refuse_unknown(environment: Mapping[str, str | None]) -> None:
    known = {name for names in setting_names().values() for name in names}
    for name in environment:
        upper = name.upper()
        if upper.startswith("RERANK_") and upper not in known | _NOT_OURS:
            near = difflib.get_close_matches(upper, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise SettingsError(f"{name} is not a setting.{hint} `rerank serve --help` lists them all.")


def _explain(problem: dict[str, Any]) -> str:
    if not problem["loc"]:
        # about several settings, named in the message; the input would be all of them, keys included
        return str(problem["msg"]).removeprefix("Value error, ")
    given = str(problem["loc"][0]).upper()
    name = next((" / ".join(names) for names in setting_names().values() if given in names), given)
    value = problem["input"]
    shown = repr(without_password(value)) if isinstance(value, str) else without_password(repr(value))
    got = "" if "KEY" in name else f" (got {shown})"
    return f"{name}: {problem['msg'].removeprefix('Value error, ')}{got}"
