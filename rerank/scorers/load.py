"""From a checkpoint folder to a scorer. Never touches the network: the folder is all there is."""

from __future__ import annotations

import logging
import math
from typing import Any

from safetensors import safe_open
from transformers.utils import logging as transformers_logging

from rerank.catalog.cards import Family, ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.core import Pair, Truncation
from rerank.devices import Device
from rerank.errors import WeightsBroken
from rerank.scorers.base import Scorer

logger = logging.getLogger(__name__)


def load_scorer(checkpoint: Checkpoint, card: ModelCard, device: Device, max_length: int | None) -> Scorer:
    """Load the weights onto the device and score one pair, so that a model that cannot score is never called loaded.

    ``max_length`` replaces the card's; neither goes past what the checkpoint can read. Raises WeightsBroken.
    """
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        family = card.family or checkpoint.family
        scorer = _LOADERS[family](checkpoint, device, max_length or card.max_length)
        _check_scores(scorer)
    except WeightsBroken:
        raise
    except Exception as error:
        # what the libraries raise over a file that is wrong inside has no common class
        logger.warning("%s cannot be loaded", checkpoint.folder.name, exc_info=True)
        raise WeightsBroken(f"{checkpoint.folder.name} cannot be loaded: {_first_line(error, checkpoint)}") from error
    return scorer


def _load_cross_encoder(checkpoint: Checkpoint, device: Device, max_length: int | None) -> Scorer:
    # importing sentence-transformers takes seconds, so it waits for the first load
    from sentence_transformers import CrossEncoder

    from rerank.scorers.cross_encoder import cross_encoder_scorer

    model = CrossEncoder(
        str(checkpoint.folder),
        device=device.name,
        local_files_only=True,
        model_kwargs={"dtype": device.dtype, "use_safetensors": True},
    )
    _refuse_random_head(model.transformers_model, checkpoint)
    return cross_encoder_scorer(model, _fit(max_length, model.max_seq_length, checkpoint.max_positions))


def _load_bi_encoder(checkpoint: Checkpoint, device: Device, max_length: int | None) -> Scorer:
    from sentence_transformers import SentenceTransformer

    from rerank.scorers.bi_encoder import BiEncoderScorer

    model = SentenceTransformer(
        str(checkpoint.folder),
        device=device.name,
        local_files_only=True,
        model_kwargs={"dtype": device.dtype, "use_safetensors": True},
    )
    return BiEncoderScorer(model, _fit(max_length, model.max_seq_length, checkpoint.max_positions))


_LOADERS = {Family.CROSS_ENCODER: _load_cross_encoder, Family.BI_ENCODER: _load_bi_encoder}


def _fit(asked: int | None, tokenizer_length: int | None, positions: int | None) -> int:
    """Tokens of a pair: what was asked for, else the tokenizer's length, never more than there are positions."""
    # tokenizers that know no limit say so with an enormous number
    own = tokenizer_length if tokenizer_length is not None and tokenizer_length < 10**9 else None
    wanted = asked or own or positions or 512
    return min(wanted, positions) if positions else wanted


def _refuse_random_head(model: Any, checkpoint: Checkpoint) -> None:
    """A head that is not in the checkpoint would be filled with random numbers, and score at random."""
    stored: set[str] = set()
    for file in checkpoint.weight_files:
        with safe_open(file, framework="numpy") as tensors:
            stored.update(tensors.keys())
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    body = f"{model.base_model_prefix}."
    head = {name for name, _ in model.named_parameters() if not name.startswith(body)}
    missing = sorted(head - stored - tied)
    if missing:
        raise WeightsBroken(
            f"{checkpoint.folder.name} has no weights for {missing[0]}: its head would be random, so it is not loaded"
        )


def _check_scores(scorer: Scorer) -> None:
    logits = scorer.score(scorer.encode([Pair("warm", "up")], Truncation(), None))
    if len(logits) != 1 or not math.isfinite(logits[0]):
        raise WeightsBroken(f"the model answered {logits} for one pair instead of one finite number")


def _first_line(error: Exception, checkpoint: Checkpoint) -> str:
    """What a caller may read of an error: one line, without the path of the folder."""
    text = str(error).replace(str(checkpoint.folder), checkpoint.folder.name)
    return (text.strip().splitlines() or [type(error).__name__])[0][:300]
