"""Causal rerankers of full size with random weights: published configurations, each with its model's own prompt."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
)

from rerank.catalog.prompts import (
    BGE_RERANKER_V2_GEMMA,
    CTXL_RERANK_V2,
    LLAMA_NEMOTRON_RERANK,
    MXBAI_RERANK_V2,
    QWEN3_RERANKER,
    ZERANK_1,
    PromptFormat,
)
from rerank.evaluation.workload import QUERY

_QWEN3 = {"kind": "qwen3", "prompt": QWEN3_RERANKER, "vocabulary": 151669, "positions": 40960}
# Qwen3-Reranker's: bf16 weights, and embeddings that are the head's too where nothing else is said.
CAUSAL_SIZES: dict[str, dict[str, Any]] = {
    "qwen3-0.6b": _QWEN3 | {"layers": 28, "hidden": 1024, "heads": 16, "key_heads": 8, "head": 128, "inner": 3072},
    "qwen3-4b": _QWEN3 | {"layers": 36, "hidden": 2560, "heads": 32, "key_heads": 8, "head": 128, "inner": 9728},
    "qwen3-8b": _QWEN3
    | {"layers": 36, "hidden": 4096, "heads": 32, "key_heads": 8, "head": 128, "inner": 12288, "tied": False},
    "qwen3-tiny": _QWEN3
    | {"layers": 2, "hidden": 32, "heads": 4, "key_heads": 2, "head": 16, "inner": 64}
    | {"vocabulary": 3000, "positions": 1024},
    "qwen3-thin": _QWEN3
    | {"layers": 2, "hidden": 64, "heads": 4, "key_heads": 2, "head": 16, "inner": 128}
    | {"positions": 1024, "spread": 0.2},
}
# The same of other causal rerankers, whose prompts no template of theirs shows.
RECIPES: dict[str, dict[str, Any]] = {
    "mxbai-rerank-base-v2": {"kind": "qwen2", "prompt": MXBAI_RERANK_V2, "vocabulary": 151936, "positions": 32768}
    | {"layers": 24, "hidden": 896, "heads": 14, "key_heads": 2, "inner": 4864},
    # its configuration is not known here; Qwen3-0.6B's stands for it
    "ctxl-rerank-v2-1b": {"kind": "qwen3", "prompt": CTXL_RERANK_V2, "vocabulary": 151936, "positions": 40960}
    | {"layers": 28, "hidden": 1024, "heads": 16, "key_heads": 8, "head": 128, "inner": 3072},
    "zerank-1-small": {"kind": "qwen3", "prompt": ZERANK_1, "vocabulary": 151936, "positions": 40960}
    | {"layers": 28, "hidden": 2048, "heads": 16, "key_heads": 8, "head": 128, "inner": 6144},
    "llama-nemotron-rerank-1b": {"kind": "llama", "prompt": LLAMA_NEMOTRON_RERANK, "vocabulary": 128256}
    | {"positions": 131072, "layers": 16, "hidden": 2048, "heads": 32, "key_heads": 8, "head": 64, "inner": 8192},
    "bge-reranker-v2-gemma": {"kind": "gemma", "prompt": BGE_RERANKER_V2_GEMMA, "vocabulary": 256000}
    | {"positions": 8192, "layers": 18, "hidden": 2048, "heads": 8, "key_heads": 1, "head": 256, "inner": 16384},
}
PROMPTS: dict[str, PromptFormat] = {name: facts["prompt"] for name, facts in (CAUSAL_SIZES | RECIPES).items()}
USUAL_SPREAD = 0.02


class _Special(NamedTuple):
    """Special tokens of one kind of body."""

    padding: str
    start: str
    end: str
    leads: bool
    """True if the tokenizer puts ``start`` before a text."""


_QWEN = _Special("<|endoftext|>", "<|im_start|>", "<|im_end|>", leads=False)
_SPECIAL = {
    "qwen2": _QWEN,
    "qwen3": _QWEN,
    "llama": _Special("<|end_of_text|>", "<|begin_of_text|>", "<|eot_id|>", leads=True),
    "gemma": _Special("<pad>", "<bos>", "<eos>", leads=True),
}
_EACH_SEES_ALL = {
    "architectures": ["LlamaBidirectionalForSequenceClassification"],
    "model_type": "llama_bidirec",
    "pooling": "avg",
}
"""What the configuration of NVIDIA's Llama says, which is a classifier whose tokens see one another."""


def save_causal(facts: dict[str, Any], words: Sequence[str], target: Path) -> None:
    """A checkpoint with these facts; each of the ``words`` is one token."""
    tokenizer = prompt_tokenizer(facts, words)
    tokenizer.save_pretrained(target)
    config = AutoConfig.for_model(
        facts["kind"],
        vocab_size=facts["vocabulary"],
        hidden_size=facts["hidden"],
        num_hidden_layers=facts["layers"],
        num_attention_heads=facts["heads"],
        num_key_value_heads=facts["key_heads"],
        **({"head_dim": facts["head"]} if "head" in facts else {}),
        intermediate_size=facts["inner"],
        max_position_embeddings=facts["positions"],
        tie_word_embeddings=facts.get("tied", True),
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=facts.get("spread", USUAL_SPREAD),
    )
    config.num_labels = 1
    has_head = facts["kind"] == "llama"
    kind: Any = AutoModelForSequenceClassification if has_head else AutoModelForCausalLM
    kind.from_config(config, dtype=torch.bfloat16).save_pretrained(target)
    if has_head:
        file = target / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | _EACH_SEES_ALL), encoding="utf-8")


def prompt_tokenizer(facts: dict[str, Any], words: Sequence[str]) -> Any:
    """Qwen's way of cutting texts, but that a word of the documents is one token, and every piece of the prompt too."""
    prompt, special = facts["prompt"], _SPECIAL[facts["kind"]]
    number_word = r" ?w\d+"
    qwen = r"[^\r\n\p{L}\p{N}]?(?!w\d)\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    cut = pre_tokenizers.Split(Regex(f"{number_word}|{qwen}"), behavior="isolated")
    pieces = [piece for text in _texts(prompt, special) for piece, _ in cut.pre_tokenize_str(text)]
    pieces += [f"{space}{word}" for space in ("", " ") for word in words]
    scored = [word for word in (prompt.yes, prompt.no) if isinstance(word, str) and word]
    vocabulary = {word: place for place, word in enumerate(dict.fromkeys(["<unknown>", *scored, *pieces]))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unknown>"))  # noqa: S106
    tokenizer.pre_tokenizer = cut
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special[:3]])
    tokenizer.add_tokens([AddedToken(token, special=False) for token in _THOUGHTS if token in prompt.suffix])
    if special.leads:
        start = (special.start, tokenizer.token_to_id(special.start))
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{special.start} $A", pair=f"{special.start} $A $B", special_tokens=[start]
        )
    fast: Any = PreTrainedTokenizerFast
    return fast(
        tokenizer_object=tokenizer,
        eos_token=special.end,
        pad_token=special.padding,
        model_max_length=facts["positions"],
        padding_side="left",
        chat_template=_prompt_template() if prompt is QWEN3_RERANKER else None,
    )


_THOUGHTS = ("<think>", "</think>")


def _texts(prompt: PromptFormat, special: _Special) -> Iterator[str]:
    """What stands in a prompt between its special tokens."""
    around = re.compile("|".join(map(re.escape, (*special[:3], *_THOUGHTS))))
    asked, read = prompt.ask(prompt.instruction, QUERY), f"{prompt.lead}w0{prompt.tail}"
    for part in (prompt.system, asked, prompt.between, read, prompt.tail, prompt.suffix):
        yield from around.split(part)


def _prompt_template() -> str:
    """Qwen3-Reranker's prompt as a template, by which it is recognised."""
    instruction, query, document = (
        f'messages | selectattr("role", "eq", "{role}") | map(attribute="content") | first'
        for role in ("system", "query", "document")
    )
    default = f"({instruction}) or {QWEN3_RERANKER.instruction!r}"
    whole = QWEN3_RERANKER.whole(*(f"{{{{ {part} }}}}" for part in (default, query, document)))
    # a template loses its last line feed
    return f"{whole}\n"
