"""Classes of transformers for checkpoints whose weights have names of their own (``catalog.ports``)."""

from __future__ import annotations

from functools import cache
from typing import Any

from rerank.catalog.checkpoint import Checkpoint
from rerank.scorers.libraries import import_transformers
from rerank.scorers.pretrained import read_config

_FLASH_NAMES = {
    "emb_ln": "embeddings.LayerNorm",
    "encoder.layers": "encoder.layer",
    "mixer.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
    "norm2": "output.LayerNorm",
}
"""What jina-reranker-v2's code calls the parts of XLM-RoBERTa, in the order in which they are replaced."""
_PACKED = "mixer.Wqkv"
_PARTS = [f"attention.self.{part}" for part in ("query", "key", "value")]


def classifier_of(checkpoint: Checkpoint) -> tuple[Any, dict[str, Any]]:
    """The class that loads the checkpoint as a classifier, and the options to load it with."""
    port = checkpoint.evidence.port
    plain = import_transformers().AutoModelForSequenceClassification
    return (_flash_classifier() if port and port.packed else plain), config_of(checkpoint)


def config_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Options to load it with: its configuration, where the one in its folder is in other words."""
    return {"config": read_config(checkpoint).full} if checkpoint.evidence.port else {}


@cache
def _flash_classifier() -> Any:
    from transformers import XLMRobertaForSequenceClassification
    from transformers.conversion_mapping import register_checkpoint_conversion_mapping
    from transformers.core_model_loading import Chunk, WeightConverter, WeightRenaming

    # transformers finds the names by that of the class
    classifier = type("FlashClassifier", (XLMRobertaForSequenceClassification,), {})
    names = [WeightRenaming(there, here) for there, here in _FLASH_NAMES.items()]
    packed = WeightConverter(_PACKED, _PARTS, operations=[Chunk(dim=0)])
    register_checkpoint_conversion_mapping(classifier.__name__, [*names, packed], overwrite=True)
    return classifier
