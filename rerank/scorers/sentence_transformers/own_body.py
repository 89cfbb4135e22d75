"""Bodies with code of their own below heads of transformers."""

from __future__ import annotations

from transformers import AutoModel
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from rerank.catalog.checkpoint import Checkpoint


def make_body_known(checkpoint: Checkpoint) -> None:
    """Have a head of transformers find the body that the folder's own code defines, which the card lets run.

    Such a head looks its body up by the configuration's class, and does not pass on that code may run.
    """
    mapped = checkpoint.config.get("auto_map")
    mapped = mapped if isinstance(mapped, dict) else {}
    names = [name for kind in ("AutoConfig", "AutoModel") if isinstance(name := mapped.get(kind), str)]
    if len(names) < 2:
        return
    folder = str(checkpoint.folder)
    config, body = (get_class_from_dynamic_module(name, folder, local_files_only=True) for name in names)
    # a class of transformers would stand for the models of other folders, too
    is_own = not config.__module__.startswith("transformers.")
    if is_own and getattr(body, "config_class", config).__name__ == config.__name__:
        AutoModel.register(config, body, exist_ok=True)
