"""From a checkpoint folder to a scorer. Never touches the network: the folder is all there is."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.families import BI_ENCODER
from rerank.catalog.own_code import runs_own_code
from rerank.core import Pair
from rerank.devices import is_out_of_memory
from rerank.errors import InvalidRequest, ModelUnavailable, WeightsBroken
from rerank.runtimes.base import MakeNetwork, Runtime, Tensors
from rerank.runtimes.padding import example_ids
from rerank.runtimes.rectangle import RectangleRuntime
from rerank.runtimes.torch_packed import PackedRuntime, runs_packed
from rerank.runtimes.torch_padded import TorchRuntime
from rerank.scorers.base import Placement, Scorer, score

logger = logging.getLogger(__name__)


def load_scorer(checkpoint: Checkpoint, card: ModelCard, placement: Placement) -> Scorer:
    """Load the weights onto the device and score one pair, so that a model that cannot score is never called loaded.

    Raises ModelUnavailable, mostly as WeightsBroken, and what a library raises when memory runs out.
    """
    own_code = runs_own_code(checkpoint.folder, card)
    if own_code:
        logger.warning("%s runs Python code of its own, as its card's trust_remote_code allows", card.id)
    # importing transformers takes seconds, so everything that does waits for the first load
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    # converting looks at every attribute of a model, and both libraries warn of those that are old
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    try:
        scorer = _family_loader(checkpoint, card, own_code=own_code)(checkpoint, card, placement)
        _check_scores(scorer)
    except ModelUnavailable:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        # what the libraries raise over a file that is wrong inside has no common class
        logger.warning("%s cannot be loaded", checkpoint.folder.name, exc_info=True)
        raise WeightsBroken(f"{checkpoint.folder.name} cannot be loaded: {_first_line(error, checkpoint)}") from error
    return scorer


LoadFamily = Callable[[Checkpoint, ModelCard, Placement], Scorer]


def _family_loader(checkpoint: Checkpoint, card: ModelCard, *, own_code: bool) -> LoadFamily:
    """A family of ours where one scores the checkpoint, else sentence-transformers, which can run its own code."""
    from rerank.scorers.bert_cross_encoder.scorer import is_encoder_checkpoint
    from rerank.scorers.qwen3.scorer import is_yes_no_checkpoint

    family = card.family or checkpoint.family
    if own_code:
        bi_encoder = family is BI_ENCODER
        return _load_sentence_transformer if bi_encoder else _load_through_sentence_transformers
    if family is BI_ENCODER:
        return _load_bi_encoder
    if is_encoder_checkpoint(checkpoint.folder):
        return _load_encoder
    if is_yes_no_checkpoint(checkpoint.folder):
        return _load_yes_no
    logger.info("%s runs in plain torch, through sentence-transformers: it is of no family known here", card.id)
    return _load_through_sentence_transformers


def _load_encoder(checkpoint: Checkpoint, card: ModelCard, placement: Placement) -> Scorer:
    from rerank.scorers.bert_cross_encoder.scorer import EncoderScorer, encoder_network, pair_segments

    length = _fit(card, placement, checkpoint, _saved_length(checkpoint))
    example = pair_segments(checkpoint).example()
    runtime = _open_body(partial(encoder_network, checkpoint), example, checkpoint, placement)
    return EncoderScorer(checkpoint, runtime, length, card.activation)


def _load_yes_no(checkpoint: Checkpoint, card: ModelCard, placement: Placement) -> Scorer:
    from rerank.scorers.pretrained import read_json, tokenizer_length
    from rerank.scorers.qwen3 import scorer as qwen3
    from rerank.scorers.qwen3.prompt import PromptTokenizer

    length = _fit(card, placement, checkpoint, tokenizer_length(checkpoint.folder))
    packed = runs_packed(placement.device)
    prompts = PromptTokenizer(
        checkpoint.folder, length, special_tokens_in_text=card.special_tokens_in_text, keeps_prefix=not packed
    )
    make_network = partial(qwen3.yes_no_network, checkpoint)
    vectors: qwen3.RectanglePrompts | qwen3.PackedPrompts
    if packed:
        vectors = qwen3.PackedPrompts(PackedRuntime(make_network, placement.device))
    else:
        runtime = _open_runtime(make_network, qwen3.yes_no_example(checkpoint), checkpoint, placement)
        vectors = qwen3.RectanglePrompts(runtime, prompts.system, read_json(checkpoint.folder / "config.json"))
    return qwen3.YesNoScorer(checkpoint, card, prompts, vectors)


def _load_bi_encoder(checkpoint: Checkpoint, card: ModelCard, placement: Placement) -> Scorer:
    from rerank.scorers.bi_encoder.bert import BertSentences, bert_embedding
    from rerank.scorers.bi_encoder.scorer import BiEncoderScorer
    from rerank.scorers.pretrained import activation_bytes, read_config

    model = bert_embedding(checkpoint)
    if model is None:
        return _load_sentence_transformer(checkpoint, card, placement)
    length = _fit(card, placement, checkpoint, _saved_length(checkpoint))
    runtime = _open_body(model.network, model.segments.example(), checkpoint, placement)
    vectors = BertSentences(model.segments, runtime)
    return BiEncoderScorer(model.reading, vectors, length, activation_bytes(read_config(checkpoint)), card.activation)


def _load_sentence_transformer(checkpoint: Checkpoint, card: ModelCard, placement: Placement) -> Scorer:
    from sentence_transformers import SentenceTransformer

    from rerank.scorers.bi_encoder.scorer import (
        BiEncoderScorer,
        PaddedSentence,
        PaddedSentences,
        embedding_inputs,
        sentence_reading,
    )
    from rerank.scorers.pretrained import activation_bytes, refuse_random_weights

    options: dict[str, Any] = {"use_safetensors": True}
    if placement.device.openvino:
        # OpenVINO's fused attention gives NaN where a token sees none, as padding does beside a sliding window
        options["attn_implementation"] = "eager"
    model = SentenceTransformer(
        str(checkpoint.folder),
        device="cpu",
        trust_remote_code=card.trust_remote_code,
        local_files_only=True,
        model_kwargs=options,
    ).float()
    if model.transformers_model is None:
        raise WeightsBroken("it holds no model of transformers, and no other is supported")
    # many embedding models were published without the pooler, which they do not use
    refuse_random_weights(model.transformers_model, checkpoint, unused="pooler.")
    reading = sentence_reading(model)
    length = _fit(card, placement, checkpoint, model.max_seq_length)
    example = example_ids(embedding_inputs(model))
    vectors = PaddedSentences(model, _open_runtime(lambda _: PaddedSentence(model), example, checkpoint, placement))
    bytes_per_token = activation_bytes(model.transformers_model.config)
    return BiEncoderScorer(reading, vectors, length, bytes_per_token, card.activation)


def _load_through_sentence_transformers(checkpoint: Checkpoint, card: ModelCard, placement: Placement) -> Scorer:
    from sentence_transformers import CrossEncoder

    from rerank.scorers.pretrained import activation_bytes, refuse_random_weights
    from rerank.scorers.sentence_transformers.scorers import cross_encoder_scorer

    model = CrossEncoder(
        str(checkpoint.folder),
        device=placement.device.name,
        trust_remote_code=card.trust_remote_code,
        local_files_only=True,
        model_kwargs={"dtype": placement.device.dtype, "use_safetensors": True},
    )
    refuse_random_weights(model.transformers_model, checkpoint)
    length = _fit(card, placement, checkpoint, model.max_seq_length)
    bytes_per_token = activation_bytes(model.transformers_model.config)
    precision = placement.device.torch_precision
    return cross_encoder_scorer(model, length, bytes_per_token, precision, card.activation)


def _open_body(
    make_network: MakeNetwork, example: Tensors, checkpoint: Checkpoint, placement: Placement
) -> RectangleRuntime | PackedRuntime:
    """A body of the BERT kind, packed where the device has the kernels for it."""
    if runs_packed(placement.device):
        return PackedRuntime(make_network, placement.device)
    return RectangleRuntime(_open_runtime(make_network, example, checkpoint, placement))


def _open_runtime(make_network: MakeNetwork, example: Tensors, checkpoint: Checkpoint, placement: Placement) -> Runtime:
    """OpenVINO where the device takes it and can convert the network, else torch; the log says which and why."""
    if not placement.device.openvino:
        return TorchRuntime(make_network, placement.device)
    from rerank.runtimes.openvino_cpu import OpenVinoRuntime

    precision = placement.device.precision
    try:
        return OpenVinoRuntime(make_network, example, checkpoint.weight_files, precision, placement.converted)
    except WeightsBroken:
        raise
    except Exception as error:
        # the converter knows most networks, not all, and its errors have no common class
        logger.warning(
            "%s runs in plain torch, which is slower: OpenVINO cannot convert it (%s)",
            checkpoint.folder.name,
            _first_line(error, checkpoint),
        )
        return TorchRuntime(make_network, placement.device)


def _fit(card: ModelCard, placement: Placement, checkpoint: Checkpoint, tokenizer_tokens: int | None) -> int:
    """Tokens of a pair: what was asked for, else the tokenizer's length, never more than there are positions."""
    positions = checkpoint.max_positions
    # tokenizers that know no limit say so with an enormous number
    own = tokenizer_tokens if tokenizer_tokens is not None and tokenizer_tokens < 10**9 else None
    wanted = placement.max_length or card.max_length or own or positions or 512
    return min(wanted, positions) if positions else wanted


def _saved_length(checkpoint: Checkpoint) -> int | None:
    from rerank.scorers.pretrained import tokenizer_length
    from rerank.scorers.saved_modules import saved_modules

    saved = saved_modules(checkpoint.folder)
    return (saved and saved.max_tokens) or tokenizer_length(checkpoint.folder)


def _check_scores(scorer: Scorer) -> None:
    # several pairs of one query may take a path of their own, and so may a short one's padding beside a long one
    pairs = [Pair("warm", "up"), Pair("warm", "up and running " * 50)]
    try:
        encoded = scorer.encode(pairs)
    except InvalidRequest as error:
        raise ModelUnavailable(
            f"A pair may have {scorer.max_length} tokens, which leaves this model no room for a document: raise "
            "RERANK_MAX_SEQ_LENGTH, or max_length in models.toml."
        ) from error
    logits = score(scorer, encoded)
    if len(logits) != len(pairs) or not all(math.isfinite(logit) for logit in logits):
        raise WeightsBroken(f"the model answered {logits} for two pairs instead of two finite numbers")


def _first_line(error: Exception, checkpoint: Checkpoint) -> str:
    """What a caller may read of an error: one line, without the path of the folder."""
    text = str(error).replace(str(checkpoint.folder), checkpoint.folder.name)
    return (text.strip().splitlines() or [type(error).__name__])[0][:300]
