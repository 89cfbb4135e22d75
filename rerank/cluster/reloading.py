"""Models file and keys file read again, by every replica and ingress that runs."""

from __future__ import annotations

import logging
from typing import Any

from rerank.cluster.application import NAME
from rerank.cluster.merged_metrics import INGRESS, REPLICAS
from rerank.cluster.needs import needed
from rerank.cluster.options import FILES, ClusterOptions, cluster_settings
from rerank.errors import SettingsError
from rerank.settings import Settings

logger = logging.getLogger(__name__)

_SECONDS = 60.0


def reload(options: ClusterOptions, settings: Settings) -> None:
    """Have all read their files again. ``settings``: those of the deployment.

    Replicas come first: a new key is known there once an ingress lets it through.
    """
    try:
        _check_files(settings, cluster_settings(options))
    except SettingsError as error:
        logger.error("reload failed, models and keys unchanged: %s", error)
        return
    for deployment in (REPLICAS, INGRESS):
        _log(deployment, _asked(deployment))


def _check_files(settings: Settings, now: Settings) -> None:
    """Raise SettingsError if a file has come or gone: which ones there are is part of a deployment."""
    for field in FILES:
        before, after = getattr(settings, field), getattr(now, field)
        if before != after:
            change = f"{after} is new" if after.exists() else f"there is no {before} any more"
            raise SettingsError(f"RERANK_{field.upper()}: {change}; start the cluster again if that is meant")


def _asked(deployment: str) -> list[Any]:
    """What each process of a deployment answers: True, False where a file is wrong, or an error."""
    handle = needed("ray.serve").get_deployment_handle(deployment, NAME)
    try:
        answers: list[Any] = handle.broadcast("reload").results(timeout_s=_SECONDS, return_exceptions=True)
    except (TimeoutError, needed("ray.serve.exceptions").DeploymentUnavailableError) as error:
        return [error]
    return answers


def _log(deployment: str, answers: list[Any]) -> None:
    wrong = [answer for answer in answers if answer is not True]
    if not wrong:
        logger.info("reloaded models and keys: %s, all %d", deployment, len(answers))
        return
    reasons = {f"{type(answer).__name__}: {answer}" if answer else "see its log" for answer in wrong}
    logger.error(
        "reload failed, models and keys unchanged: %s, %d of %d (%s)",
        deployment,
        len(wrong),
        len(answers),
        "; ".join(sorted(reasons)),
    )
