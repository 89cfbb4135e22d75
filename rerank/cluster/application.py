"""The Ray Serve application. `serve deploy` finds it as `rerank.cluster.application:application`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rerank.cluster.ingress import Ingress
from rerank.cluster.merged_metrics import INGRESS, REPLICAS
from rerank.cluster.needs import needed
from rerank.cluster.options import ClusterOptions, cluster_settings, read_options
from rerank.cluster.replica import Replica
from rerank.settings import Settings

NAME = "rerank"
MAX_REQUESTS = 10_000
"""Per process at a time; a server's own limits come first, and its scheduler batches across requests."""
_ENDING_SECONDS = 10
"""For a replica to stop, in addition to its drain."""
_REPORT_SECONDS = 1.0
_LOOK_BACK_SECONDS = 10.5
"""Of the backlog's mean; Ray warns of less than its own interval of 10 s."""


def application(args: Mapping[str, Any]) -> Any:
    """The application as its arguments say; see `ClusterOptions`. Raises SettingsError."""
    options = read_options(args)
    return bound(options, cluster_settings(options))


def bound(options: ClusterOptions, settings: Settings) -> Any:
    """The deployments of options and settings, bound together."""
    serve, config = needed("ray.serve"), needed("ray.serve.config")
    ending = settings.drain_timeout + _ENDING_SECONDS
    replicas = serve.deployment(
        Replica,
        name=REPLICAS,
        max_ongoing_requests=MAX_REQUESTS,
        graceful_shutdown_timeout_s=ending,
        graceful_shutdown_wait_loop_s=0.5,
        health_check_period_s=5,
        ray_actor_options={"num_cpus": options.num_cpus, "num_gpus": options.num_gpus},
        request_router_config=config.RequestRouterConfig(
            request_router_class="rerank.cluster.router:ModelRouter",
            request_routing_stats_period_s=_REPORT_SECONDS,
            request_routing_stats_timeout_s=10 * _REPORT_SECONDS,
        ),
        **_number(options, config),
    )
    ingress = serve.deployment(
        serve.ingress()(Ingress),
        name=INGRESS,
        num_replicas=options.ingresses,
        max_ongoing_requests=MAX_REQUESTS,
        graceful_shutdown_timeout_s=ending,
        graceful_shutdown_wait_loop_s=0.5,
        ray_actor_options={"num_cpus": 0},
    )
    return ingress.bind(replicas.bind(settings, options.server), settings)


def _number(options: ClusterOptions, config: Any) -> dict[str, Any]:
    """How many replicas there are."""
    if not options.scales:
        return {"num_replicas": options.replicas}
    low, high = options.bounds
    policy = config.AutoscalingPolicy(
        policy_function="rerank.cluster.autoscaling:BacklogPolicy",
        policy_kwargs={"target": options.target_backlog},
    )
    return {
        "autoscaling_config": config.AutoscalingConfig(
            min_replicas=low,
            initial_replicas=options.replicas,
            max_replicas=high,
            upscale_delay_s=options.upscale_delay,
            downscale_delay_s=options.downscale_delay,
            look_back_period_s=_LOOK_BACK_SECONDS,
            policy=policy,
        )
    }
