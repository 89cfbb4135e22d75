"""Embedding models of any kind, run through their own modules as sentence-transformers saved them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Normalize
from torch import nn

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.core import Truncation
from rerank.errors import ModelUnsupported
from rerank.runtimes.base import Runtime, TokenIds, Values
from rerank.runtimes.padding import pad
from rerank.scorers.base import finish
from rerank.scorers.bi_encoder.scorer import SentenceReading, VectorSize
from rerank.scorers.half_precision import cast_weights, in_fp32
from rerank.scorers.seen_padding import by_length, sees_padding
from rerank.scorers.tokens import PairTokenizer, private_copy, rows_of


class PaddedSentence(nn.Module):
    """An embedding model of sentence-transformers, as a function from token ids to one vector per text."""

    def __init__(self, model: SentenceTransformer, dtype: torch.dtype) -> None:
        """Its transformer in this precision, what follows it in fp32."""
        super().__init__()
        self.transformer, *others = model
        self.others = nn.Sequential(*others)
        network: Any = model.transformers_model
        self.config = network.config
        self.dtype = dtype
        cast_weights(self.transformer, dtype)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> tuple[torch.Tensor]:
        """Vectors of shape (texts, dimensions), not normalised."""
        features = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            features["token_type_ids"] = token_type_ids
        masks = attention_masks(self.config, attention_mask, self.dtype)
        named = {"attention_mask": masks} if masks else {}
        return (self.others(in_fp32(self.transformer(features, **named)))["sentence_embedding"],)


def attention_masks(config: Any, attention_mask: torch.Tensor, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """What a Gemma 3 whose tokens see one another adds to attention, by kind of layer; empty for other models.

    Those that transformers makes for it cannot be traced.
    """
    if config.model_type != "gemma3_text" or not config.use_bidirectional_attention:
        return {}
    seen = attention_mask[:, None, None].bool()
    places = torch.arange(seen.shape[-1], device=seen.device)
    near = (places[:, None] - places).abs() < config.sliding_window
    nothing = torch.zeros((), dtype=dtype, device=seen.device)
    kinds = {"full_attention": seen, "sliding_attention": seen & near}
    return {kind: torch.where(mask, nothing, torch.finfo(dtype).min) for kind, mask in kinds.items()}


def embedding_inputs(model: SentenceTransformer) -> tuple[str, ...]:
    """Names of the inputs the model's tokenizer gives."""
    names = ("input_ids", "attention_mask")
    return (*names, "token_type_ids") if "token_type_ids" in model.tokenizer.model_input_names else names


def trial_texts(model: SentenceTransformer, max_length: int) -> dict[str, numpy.ndarray]:
    """The inputs of a short and a long text."""
    tokenizer = PairTokenizer(private_copy(model.tokenizer))
    return _padding(model)(finish(tokenizer.texts(["warm", "up and running " * 200], Truncation(), max_length)))


def _padding(model: SentenceTransformer) -> Callable[[Sequence[TokenIds]], dict[str, numpy.ndarray]]:
    """What makes inputs of sequences; it does not hold the model."""
    segments = "token_type_ids" in embedding_inputs(model)
    return partial(pad, pad_id=int(model.tokenizer.pad_token_id or 0), segments=segments)


def sentence_reading(model: SentenceTransformer) -> SentenceReading:
    """How the model reads texts. Raises ModelUnsupported if it does more than prepend a prompt."""
    transformer, *others = model
    if _tokenises_itself(transformer):
        raise ModelUnsupported(
            f"its first module, {type(transformer).__name__}, tokenises texts by code of its own, which is not "
            "supported. Use another embedding model, such as BAAI/bge-m3."
        )
    if "message" in getattr(transformer, "modality_config", ()):
        raise ModelUnsupported(
            "its texts go through a chat template, which is not supported for embedding models. If it was trained "
            "without one, remove the template from the folder."
        )
    if any(model.prompts.values()) and not all(getattr(module, "include_prompt", True) for module in others):
        raise ModelUnsupported(_prompt_left_out(model.prompts))
    tokenizer = PairTokenizer(private_copy(model.tokenizer), rows=rows_of(model))
    return SentenceReading(tokenizer, dict(model.prompts), model.default_prompt_name)


def _prompt_left_out(prompts: Mapping[str, str | None]) -> str:
    told = (
        "its pooling leaves the prompt out of the vector (include_prompt in the settings of its Pooling), which is "
        "not supported. Use another embedding model, such as BAAI/bge-m3."
    )
    if any(prompt for name, prompt in prompts.items() if name not in ("query", "document")):
        return told
    return (
        f'{told} `prompts = {{ query = "", document = "" }}` in its card in models.toml has it read texts without a '
        "prompt, which it was not trained on."
    )


def _tokenises_itself(module: nn.Module) -> bool:
    """True for a module whose own code adds to texts, or reads them in a way of its own."""
    return any(
        getattr(type(module), name, None) is not getattr(Transformer, name) for name in ("preprocess", "tokenize")
    )


def saved_vector_size(model: SentenceTransformer, card: ModelCard, checkpoint: Checkpoint) -> VectorSize:
    """The dimensions and the length of the model's vectors."""
    normalised = isinstance(list(model)[-1], Normalize)
    with model.truncate_embeddings(None):
        dimensions = model.get_embedding_dimension()
    if dimensions is None:
        raise ModelUnsupported("none of its modules says how many dimensions its vectors have.")
    return VectorSize.of(checkpoint, card, dimensions, normalised=normalised)


class PaddedSentences:
    """Vectors of any embedding model, from padded batches."""

    padded = True

    def __init__(self, model: SentenceTransformer, runtime: Runtime) -> None:
        self.device = runtime.device
        self.precision = runtime.precision
        self.description = f"{runtime.description}, padded"
        self._runtime = runtime
        self._padded = _padding(model)
        network: Any = model.transformers_model
        self._sees_padding = sees_padding(network.config.model_type)

    def __call__(self, sequences: Sequence[TokenIds]) -> Values:
        """See ``SentenceVectors``."""
        return by_length(sequences, self._run) if self._sees_padding else self._run(sequences)

    def _run(self, sequences: Sequence[TokenIds]) -> Values:
        return self._runtime(self._padded(sequences))[0]
