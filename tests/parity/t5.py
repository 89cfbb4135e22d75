"""T5 rerankers with random weights, and the model of transformers asked in one text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoTokenizer, T5Tokenizer

from rerank.catalog.prompts import PromptFormat
from tests.parity.layouts import rewrite

WORDS = (
    *("what", "is", "machine", "learning", "a", "branch", "of", "AI", "one", "more", "word"),
    *("Query:", "Document:", "Relevant:", "true", "false", "yes", "no", "sim", "não"),
    *("Pergunta:", "Documento:", "Relevante:", "Sim", "Não"),
)


def make_t5(folder: Path, kind: str = "t5", **changes: Any) -> Path:
    """A T5 whose vocabulary has the words that are scored; mT5's output matrix is its own."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(f"▁{word}", -3.0) for word in dict.fromkeys(WORDS)]
    pieces += [(letter, -8.0) for letter in sorted({letter for word in WORDS for letter in word})]
    tokenizer: Any = T5Tokenizer
    tokenizer(vocab=pieces, extra_ids=0, model_max_length=64).save_pretrained(folder)
    asked = {
        "vocab_size": len(pieces) + 5,
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 2,
        "num_heads": 4,
        "initializer_factor": 2.0,
        "decoder_start_token_id": 0,
        "pad_token_id": 0,
        "tie_word_embeddings": kind == "t5",
    } | changes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        auto: Any = AutoModelForSeq2SeqLM
        model = auto.from_config(AutoConfig.for_model(kind, **asked))
        model.save_pretrained(folder)
        weights = load_file(folder / "model.safetensors")
        if kind == "mt5":
            weights["lm_head.weight"] = 0.3 * torch.randn(asked["vocab_size"], 32)
            save_file(weights, folder / "model.safetensors", {"format": "pt"})
    rewrite(folder / "config.json", tie_word_embeddings=kind == "t5")
    return folder


@torch.inference_mode()
def first_word(folder: Path, pairs: Sequence[tuple[str, str]], prompt: PromptFormat) -> list[float]:
    """The whole model, one text at a time, as pygaggle asks it; its last product from the file, as T5 scales it."""
    model: Any = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in (prompt.yes, prompt.no))
    scores = []
    for query, document in pairs:
        read = tokenizer(prompt.whole("", query, document), return_tensors="pt")
        logits = model(**read, decoder_input_ids=torch.tensor([[0]])).logits[0, 0]
        scores.append(float(logits[yes] - logits[no]))
    return scores
