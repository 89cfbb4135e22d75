"""The procedure of Qwen3-Reranker's model card, by transformers: what its users run at home."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.workload import BatchedScore
from rerank.catalog.prompts import QWEN3_RERANKER
from rerank.core import Pair


@contextmanager
def model_card(folder: Path, dtype: torch.dtype, max_length: int, device: str = "cpu") -> Iterator[BatchedScore]:
    """Prompts padded on the left in batches of a given size (on the card: all in one), the whole vocabulary."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
    causal: Any = AutoModelForCausalLM
    model: Any = causal.from_pretrained(folder, dtype=dtype).to(device)
    yes, no = tokenizer.convert_tokens_to_ids("yes"), tokenizer.convert_tokens_to_ids("no")
    prefix, suffix = (
        tokenizer.encode(text, add_special_tokens=False) for text in (QWEN3_RERANKER.system, QWEN3_RERANKER.suffix)
    )
    room = max_length - len(prefix) - len(suffix)

    def inputs(some: Sequence[Pair]) -> Any:
        texts = [f"{QWEN3_RERANKER.ask(QWEN3_RERANKER.instruction, pair.query)} {pair.document}" for pair in some]
        middles = tokenizer(
            texts, padding=False, truncation="longest_first", return_attention_mask=False, max_length=room
        )["input_ids"]
        rows = {"input_ids": [prefix + ids + suffix for ids in middles]}
        return tokenizer.pad(rows, padding=True, return_tensors="pt").to(device)

    @torch.inference_mode()
    def run(pairs: Sequence[Pair], batch: int) -> list[float]:
        found: list[float] = []
        for start in range(0, len(pairs), batch):
            last = model(**inputs(pairs[start : start + batch])).logits[:, -1, :].float()
            found += (last[:, yes] - last[:, no]).tolist()
        return found

    yield run
