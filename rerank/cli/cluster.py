"""`rerank cluster`: several servers as one, under Ray Serve."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import Parameter, Signature
from typing import Annotated, Any, get_args

import typer

from rerank.cli.serve import SETTING_OF, InGroups, setting_parameters
from rerank.cli.terminal import verbatim
from rerank.cluster.options import ClusterOptions, cluster_settings, read_options

_EPILOG = """
examples:
  rerank cluster --replicas 2
  rerank cluster --replicas 1 --max-replicas 4 --num-gpus 1
  rerank cluster --address auto --replicas 8 --num-gpus 1 --host 0.0.0.0

Ray is started on this machine; with --address an existing Ray cluster is joined.
Every setting of `rerank serve` is an option here, too, and applies to each replica.

exit status:
  0  stopped
  2  wrong usage or settings, or it could not be deployed
"""
_HIDDEN = ("settings", "server")

app = typer.Typer(rich_markup_mode=None, add_completion=False)


def cluster(address: str | None = None, **given: Any) -> None:
    """Serve from several replicas behind one address."""
    named = {name: value for name, value in given.items() if value is not None}
    own = {name: value for name, value in named.items() if name in ClusterOptions.model_fields}
    settings = {SETTING_OF[name]: value for name, value in named.items() if name not in own}
    options = read_options({**own, "settings": settings})
    # a wrong setting need not wait for Ray
    cluster_settings(options)
    from rerank.cluster.running import run_cluster

    run_cluster(options, address)


def _parameters() -> Iterator[Parameter]:
    """Those of the cluster, then the servers' settings."""
    of_ray = typer.Option(help="Address of a Ray cluster to join, or auto. Default: Ray is started on this machine.")
    yield Parameter("address", Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, of_ray])
    for name, field in ClusterOptions.model_fields.items():
        if name not in _HIDDEN:
            kind = next((each for each in (*get_args(field.annotation), field.annotation) if each in (int, float)), str)
            shown = "" if field.default is None else f" [default: {field.default:g}]"
            option = typer.Option(help=f"{field.description}{shown}")
            annotation = Annotated[kind | None, option]  # type: ignore[valid-type]
            yield Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
    yield from setting_parameters()


cluster.__signature__ = Signature(list(_parameters()))  # type: ignore[attr-defined]
app.command(cls=InGroups, epilog=verbatim(_EPILOG))(cluster)
