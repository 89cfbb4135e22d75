"""Networks converted once for all tests, as a machine keeps them from one start of the server to the next."""

from __future__ import annotations

from pathlib import Path

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
