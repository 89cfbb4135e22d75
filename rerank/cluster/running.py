"""A cluster from the command line: Ray started or joined, the application deployed, and all of it stopped again."""

from __future__ import annotations

import logging
import os
import queue
import signal
import socket
from collections.abc import Callable
from typing import Any

from rerank.access.keys_file import keys_of
from rerank.cluster.application import NAME, bound
from rerank.cluster.needs import needed
from rerank.cluster.options import ClusterOptions, cluster_settings
from rerank.cluster.proxy import PLACE, VARIABLE
from rerank.cluster.reloading import reload
from rerank.errors import SettingsError
from rerank.server.reload import closed_terminal
from rerank.settings import Settings
from rerank.telemetry import configure_logging

logger = logging.getLogger(__name__)

_BODIES_IN_MEMORY = 512 * 1024 * 1024
"""Ray's memory for bodies over 100 kB on their way to a replica; what does not fit goes to disk."""
_QUIET = {"enable_access_log": False, "log_level": "WARNING"}
"""Ray's own log; ingress and replicas have a line for each request."""


def run_cluster(options: ClusterOptions, address: str | None) -> None:
    """Run until SIGTERM or SIGINT. ``address``: of a Ray cluster to join; None starts one on this machine.

    Raises SettingsError.
    """
    settings = cluster_settings(options)
    configure_logging(settings.log_level, settings.log_format)
    _check_port(settings)
    if address is None:
        # in a cluster that is joined the proxy of an earlier command may have it
        _check_free(settings)
        prepare_ray()
    ray = needed("ray")
    start_ray(ray, address)
    # True to read the files again, False to stop
    signals: queue.SimpleQueue[bool] = queue.SimpleQueue()
    try:
        # until it serves Ray waits for replicas, for ever if there is no room for them
        _on_stop(_interrupt)
        _on_hangup(lambda: signals.put(True))
        deploy(options, settings)
        _on_stop(lambda *_: signals.put(False))
        while signals.get():
            reload(options, settings)
    except KeyboardInterrupt:
        logger.warning("stopped before the cluster served")
    finally:
        _leave(ray, joined=address is not None)


def _on_stop(handler: Callable[..., object]) -> None:
    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, handler)


def _on_hangup(call: Callable[[], object]) -> None:
    """Have SIGHUP call it; of a terminal that was closed it stops the cluster."""
    if hasattr(signal, "SIGHUP"):
        ends = closed_terminal()
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM) if ends() else call())


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _check_port(settings: Settings) -> None:
    if not settings.port:
        raise SettingsError("RERANK_PORT / PORT: 0 is no port that Ray can serve on; name one")


def _check_free(settings: Settings) -> None:
    """Raise SettingsError if the port is taken: Ray's proxy would try again for ever."""
    family = socket.AF_INET6 if ":" in settings.local_host else socket.AF_INET
    try:
        socket.create_server((settings.local_host, settings.port), family=family).close()
    except OSError as error:
        raise SettingsError(f"RERANK_PORT / PORT: {settings.port} cannot be listened on: {error.strerror}") from error


def _leave(ray: Any, *, joined: bool) -> None:
    """Stop what was started here, and nothing else that runs in a cluster that was joined."""
    serve = needed("ray.serve")
    if joined:
        serve.delete(NAME)
    # while it runs it keeps its address, whatever the next command asks for
    if not joined or not serve.status().applications:
        serve.shutdown()
    ray.shutdown()


def prepare_ray() -> None:
    """What a Ray of our own is started with. To be called before Ray is imported.

    It listens on 127.0.0.1 alone, but for a port per process of Ray Serve: its ports run what they are sent, though a
    token guards them. And its proxy sends a request again whose ingress ended.
    """
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    os.environ.setdefault(VARIABLE, PLACE)


def start_ray(ray: Any, address: str | None, **more: Any) -> None:
    """Join a Ray cluster, or start one on this machine. Raises SettingsError."""
    if address is not None:
        try:
            ray.init(address=address, logging_level="warning", **more)
        except Exception as error:
            # of many kinds: unreachable, another version, a token that is missing
            raise SettingsError(
                f"--address: no Ray cluster can be joined at {address}: {error}. One that asks for a token is joined "
                "with RAY_AUTH_MODE=token and its ~/.ray/auth_token."
            ) from error
        return
    local = {"include_dashboard": False, "object_store_memory": _BODIES_IN_MEMORY, "logging_level": "warning", **more}
    for last in (False, False, True):
        try:
            ray.init(address="local", **local)
        except Exception as error:
            # Ray waits 30 s for its processes, which a busy machine may exceed, and raises a bare Exception
            ray.shutdown()
            if last:
                raise SettingsError(f"Ray could not be started: {error}") from error
            logger.warning("Ray did not start, which is tried again: %s", error)
        else:
            return


def deploy(options: ClusterOptions, settings: Settings) -> None:
    """Deploy, or update what is deployed, and return once it serves. Raises SettingsError if it cannot."""
    serve, host = needed("ray.serve"), settings.listen_host(guarded=keys_of(settings).guarded)
    listening = {"host": host, "port": settings.port, "keep_alive_timeout_s": settings.http_keep_alive}
    try:
        serve.start(http_options=listening, logging_config=_QUIET)
        _check_address(host, settings.port)
        serve.run(bound(options, settings), name=NAME, logging_config=_QUIET)
    except (RuntimeError, TimeoutError, needed("ray.exceptions").RayError) as error:
        raise SettingsError(f"the cluster could not be deployed: {error}") from error
    logger.info("the cluster serves on port %d, replicas: %d", settings.port, options.replicas)


def _check_address(host: str, port: int) -> None:
    """Raise SettingsError if Ray Serve ran before and listens elsewhere: it only logs that it will not change that."""
    listens = needed("ray.serve.context")._get_global_client().http_config
    if (listens.host, listens.port) != (host, port):
        raise SettingsError(
            f"RERANK_HOST, RERANK_PORT: {host}:{port} cannot be had, for Ray Serve runs in this cluster already, on "
            f"{listens.host}:{listens.port}. Take that, or stop it (serve shutdown)."
        )
