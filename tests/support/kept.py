"""Networks converted once for all tests, as a machine keeps them from one start of the server to the next."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rerank.engine import Engine
from rerank.settings import Settings

_shared: list[Path] = []


def keep_networks_in(folder: Path) -> None:
    """From now on servers of tests keep converted networks in this folder."""
    _shared[:] = [folder]


def share_kept_networks(models: Path) -> None:
    """Let a server with these ``models/`` find what others converted; one that has kept networks of its own stays."""
    kept = models / ".openvino"
    if _shared and not kept.exists():
        models.mkdir(parents=True, exist_ok=True)
        kept.symlink_to(_shared[0], target_is_directory=True)


def convert(models: Path, *names: str) -> None:
    """Convert these models here, where torch is imported already; a server would import it to do so."""
    share_kept_networks(models)
    asyncio.run(_ask_each(models, names))


async def _ask_each(models: Path, names: tuple[str, ...]) -> None:
    async with Engine.open(Settings(_env_file=None, rerank_models_dir=models, rerank_model_device="cpu")) as engine:
        for name in names:
            await engine.rank("q", ["d"], model=name)
