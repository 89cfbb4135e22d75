"""Late-interaction models as published ones are laid out, with random weights, and their procedure by hand."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.sentence_transformer.modules import Normalize
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer

from tests.parity.layouts import encoder, rewrite

MARKERS = ("[unused0]", "[unused1]", "[Q] ", "[D] ")
WIDTH = 16
WORDS = 200
"""Rows of the table of embeddings, a few more than the vocabulary has."""
DENSE = "torch.nn.modules.linear.Identity"


def _body(folder: Path, model_type: str, **changes: Any) -> None:
    """A body whose tokenizer knows the markers."""
    asked = {"local_attention": 24} if model_type == "modernbert" else {}
    encoder(folder, model_type, body=True, vocab_size=WORDS, **asked | changes)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(list(MARKERS))
    tokenizer.save_pretrained(folder)


def _random(rows: int, columns: int, seed: int = 7) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * 0.3


def make_stanford(folder: Path, model_type: str = "bert", **metadata: Any) -> Path:
    """As colbertv2.0 and answerai-colbert-small-v1: one file of weights, and ``artifact.metadata``."""
    _body(folder, model_type)
    weights = {f"bert.{name}": weight for name, weight in load_file(folder / "model.safetensors").items()}
    save_file(weights | {"linear.weight": _random(WIDTH, 32)}, folder / "model.safetensors", {"format": "pt"})
    rewrite(folder / "config.json", architectures=["HF_ColBERT"])
    published = {"query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_maxlen": 12, "doc_maxlen": 60}
    rewrite(
        folder / "artifact.metadata", **{"attend_to_mask_tokens": False, "similarity": "cosine"} | published | metadata
    )
    return folder


def make_pylate(folder: Path, model_type: str = "modernbert", *, wide: bool = False, **settings: Any) -> Path:
    """As GTE-ModernColBERT-v1, or with the two layers of mxbai-edge-colbert, where ``wide``."""
    _body(folder, model_type)
    layers = [(WIDTH, 32, False)] if not wide else [(64, 32, True), (WIDTH, 64, True)]
    listed = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    for place, (rows, columns, residual) in enumerate(layers, start=1):
        path = f"{place}_Dense"
        listed.append({"idx": place, "name": str(place), "path": path, "type": "pylate.models.Dense.Dense"})
        shape = {"in_features": columns, "out_features": rows, "bias": False, "activation_function": DENSE}
        rewrite(folder / path / "config.json", **shape, **({"use_residual": True} if residual else {}))
        weights = {"linear.weight": _random(rows, columns)}
        if residual:
            weights["residual.weight"] = _random(rows, columns, seed=8)
        save_file(weights, folder / path / "model.safetensors")
    (folder / "modules.json").write_text(json.dumps(listed))
    rewrite(folder / "sentence_bert_config.json", max_seq_length=59, do_lower_case=False)
    published = {"query_prefix": "[Q] ", "document_prefix": "[D] ", "query_length": 12, "document_length": 60}
    skipped = {"skiplist_words": [*string.punctuation, "a", "the"], "attend_to_expansion_tokens": False}
    names = {"model_type": "ColBERT", "prompts": {}, "similarity_fn_name": "MaxSim"}
    rewrite(folder / "config_sentence_transformers.json", **names | published | skipped | settings)
    return folder


def make_multi_vector(folder: Path, model_type: str = "bert", **expansion: Any) -> Path:
    """As sentence-transformers itself saves one."""
    base = folder.with_name(f"{folder.name}-base")
    _body(base, model_type)
    asked: Any = {"strategy": "min", "length": 12} | expansion
    modules = [
        Transformer(str(base), query_length=20, document_length=60, query_expansion=asked if expansion else None),
        Dense(32, WIDTH, bias=False, activation_function=torch.nn.Identity(), module_input_name="token_embeddings"),
        MultiVectorMask(skiplist_words=["a", "the"]),
        Normalize(module_input_name="token_embeddings"),
    ]
    modules[1].linear.weight.data = _random(WIDTH, 32)
    prompts = {"query": "word ", "document": "more "}
    MultiVectorEncoder(modules=modules, device="cpu", prompts=prompts).save(str(folder), create_model_card=False)
    return folder


def saved_late(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """What sentence-transformers makes of the folder."""
    model = MultiVectorEncoder(str(folder), device="cpu", model_kwargs={"attn_implementation": "eager"})
    # one at a time: its batches are padded
    return [
        float(model.similarity_pairwise(model.encode_query([query]), model.encode_document([document]))[0])
        for query, document in pairs
    ]


def late_by_hand(
    markers: tuple[str, str],
    *,
    skipped: Sequence[str] = (),
    skips_first: bool = False,
    expands: bool = True,
    attends: bool = False,
) -> Callable[[Path, Sequence[tuple[str, str]]], list[float]]:
    """Token by token: one text at a time through transformers, one projection, one cosine after another."""

    @torch.inference_mode()
    def reference(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[float]:
        model: Any = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        dense = folder / "1_Dense" / "model.safetensors"
        projection = load_file(dense if dense.is_file() else folder / "model.safetensors")["linear.weight"]
        number: Any = tokenizer.token_to_id
        firsts = {tokenizer.encode(mark, add_special_tokens=False).ids[0] for mark in skipped if skips_first}
        left_out = firsts or {number(word) for word in skipped} - {None}

        def read(text: str, marker: str, length: int, *, expanded: bool) -> torch.Tensor:
            kept = tokenizer.encode(text, add_special_tokens=False).ids[: length - 3]
            ids = [number("[CLS]"), number(marker), *kept, number("[SEP]")]
            added = length - len(ids) if expanded else 0
            mask = [1] * len(ids) + [int(attends)] * added
            ids += [number("[MASK]")] * added
            states = model(input_ids=torch.tensor([ids]), attention_mask=torch.tensor([mask])).last_hidden_state[0]
            vectors = torch.nn.functional.normalize(states @ projection.T, dim=-1)
            counts = [expanded or marker == markers[0] or token not in left_out for token in ids]
            return vectors[torch.tensor(counts)]

        scores = []
        for query, document in pairs:
            asked = read(query, markers[0], 12, expanded=expands)
            found = read(document, markers[1], 60, expanded=False)
            scores.append(sum(max(float(one @ other) for other in found) for one in asked))
        return scores

    return reference


stanford_by_hand = partial(late_by_hand, ("[unused0]", "[unused1]"), skipped=string.punctuation, skips_first=True)
pylate_by_hand = partial(late_by_hand, ("[Q] ", "[D] "), skipped=(*string.punctuation, "a", "the"))
