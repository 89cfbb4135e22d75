"""Real checkpoints with random weights, small enough to make in a test. The same arguments give the same bytes."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoConfig,
    AutoModel,
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3ForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

TEXTS = (
    "what is machine learning?",
    "Machine learning is a branch of AI",
    "Python is a programming language",
    "the giant panda is a bear",
    "机器学习是人工智能的一个分支",
    "short word and one more word",
)
_SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def make_xlm_roberta(
    folder: Path,
    positions: int = 514,
    *,
    seed: int = 0,
    labels: int = 1,
    hidden: int = 32,
    layers: int = 2,
    initializer_range: float = 0.5,
    limit_in_tokenizer: bool = True,
) -> Path:
    """An XLM-RoBERTa reranker that reads ``positions - 2`` tokens, as BAAI/bge-reranker-base is one, in ``folder``.

    Without ``limit_in_tokenizer`` only the configuration says how long a pair may be.
    """
    tokenizer = unigram_tokenizer()
    fast: Any = PreTrainedTokenizerFast
    fast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        cls_token="<s>",
        sep_token="</s>",
        mask_token="<mask>",
        **({"model_max_length": positions - 2} if limit_in_tokenizer else {}),
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    config = XLMRobertaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * hidden,
        max_position_embeddings=positions,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        initializer_range=initializer_range,
    )
    config.num_labels = labels
    _save(XLMRobertaForSequenceClassification, config, folder, seed)
    return folder


def unigram_tokenizer() -> Tokenizer:
    """Words and characters of ``TEXTS``. Not trained: the library's trainer breaks ties differently every time."""
    counts = Counter("▁" + word for text in TEXTS for word in text.split())
    characters = sorted(set("".join(counts)))
    pieces = [(token, 0.0) for token in _SPECIAL_TOKENS]
    pieces += [(word, math.log(count / counts.total())) for word, count in sorted(counts.items())]
    pieces += [(character, -10.0) for character in characters if character not in counts]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=_SPECIAL_TOKENS.index("<unk>"), byte_fallback=False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return tokenizer


def make_bert(folder: Path, positions: int = 128, *, seed: int = 0, activation: str | None = None) -> Path:
    """A BERT reranker with segment ids, as the ms-marco family is one, in ``folder``.

    ``activation`` is what the checkpoint asks for, for example ``torch.nn.modules.linear.Identity``.
    """
    vocabulary = {token: place for place, token in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"))}
    for piece in sorted({piece for text in TEXTS for piece in (*text.lower().split(), *text.lower())}):
        vocabulary.setdefault(piece, len(vocabulary))
        vocabulary.setdefault(f"##{piece}", len(vocabulary))
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast: Any = PreTrainedTokenizerFast
    fast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=positions,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=positions,
        initializer_range=0.5,
    )
    config.num_labels = 1
    if activation:
        config.sbert_ce_default_activation_function = activation
    _save(BertForSequenceClassification, config, folder, seed)
    return folder


def make_qwen3(
    folder: Path, *, seed: int = 0, tied: bool = True, positions: int = 512, converted: bool = False
) -> Path:
    """A Qwen3 with the special tokens and the prompt of Qwen3-Reranker as its chat template, in ``folder``.

    Causal, or ``converted`` to a classifier with one label.
    """
    config = Qwen3Config(**_save_qwen_tokenizer(folder, positions), head_dim=16, tie_word_embeddings=tied)
    config.num_labels = 1
    _save(Qwen3ForSequenceClassification if converted else Qwen3ForCausalLM, config, folder, seed)
    return folder


def make_qwen2(folder: Path, *, seed: int = 0) -> Path:
    """A causal Qwen2 with a prompt that nobody else has: no family of ours scores it."""
    config = Qwen2Config(**_save_qwen_tokenizer(folder, 512))
    _save(Qwen2ForCausalLM, config, folder, seed)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("Judge whether", "Decide whether"))
    return folder


def make_modernbert(folder: Path, *, seed: int = 0) -> Path:
    """A ModernBERT reranker, as gte-reranker-modernbert-base is one: no family of ours scores it."""
    make_bert(folder, seed=seed)
    vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
    config = ModernBertConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
        pad_token_id=0,
        initializer_range=0.5,
    )
    config.num_labels = 1
    _save(ModernBertForSequenceClassification, config, folder, seed)
    return folder


def _save_qwen_tokenizer(folder: Path, positions: int) -> dict[str, Any]:
    """Write the tokenizer; the arguments that a configuration of any Qwen around it shares."""
    tokenizer = byte_level_tokenizer()
    fast: Any = PreTrainedTokenizerFast
    fast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=positions,
        padding_side="left",
        chat_template=_QWEN3_TEMPLATE,
    ).save_pretrained(folder)
    return {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": positions,
        "initializer_range": 0.2,
        "pad_token_id": tokenizer.token_to_id("<|endoftext|>"),
        "eos_token_id": tokenizer.token_to_id("<|im_end|>"),
    }


def make_distilbert(folder: Path, *, seed: int = 0) -> Path:
    """A DistilBERT reranker, whose configuration calls sizes by names of its own, in ``folder``."""
    bert = json.loads((make_bert(folder, seed=seed) / "config.json").read_text())
    config = DistilBertConfig(
        vocab_size=bert["vocab_size"],
        dim=32,
        n_layers=2,
        n_heads=4,
        hidden_dim=64,
        max_position_embeddings=128,
        initializer_range=0.5,
        pad_token_id=bert["pad_token_id"],
    )
    config.num_labels = 1
    _save(DistilBertForSequenceClassification, config, folder, seed)
    return folder


def make_embedding_model(
    folder: Path,
    *,
    make_base: Callable[..., Path] = make_bert,
    pooling: str = "mean",
    prompts: dict[str, str] | None = None,
    seed: int = 0,
) -> Path:
    """A sentence-transformers embedding model, in ``folder``."""
    base = folder / "base"
    make_base(base, seed=seed)
    AutoModel.from_pretrained(base).save_pretrained(base)
    transformer = Transformer(str(base))
    modules = [transformer, Pooling(transformer.get_embedding_dimension(), pooling_mode=pooling), Normalize()]
    SentenceTransformer(modules=modules, device="cpu", prompts=prompts).save(str(folder))
    shutil.rmtree(base)
    return folder


_QWEN3_TEMPLATE = """<|im_start|>system
Judge whether the Document meets the requirements based on the Query and the Instruct provided. \
Note that the answer can only be "yes" or "no".<|im_end|>
<|im_start|>user
<Instruct>: {{ (messages | selectattr("role", "eq", "system") | map(attribute="content") | first) \
or "Given a web search query, retrieve relevant passages that answer the query" }}
<Query>: {{ messages | selectattr("role", "eq", "query") | map(attribute="content") | first }}
<Document>: {{ messages | selectattr("role", "eq", "document") | map(attribute="content") | first }}<|im_end|>
<|im_start|>assistant
<think>

</think>


"""


def byte_level_tokenizer() -> Tokenizer:
    """Bytes, the words a reranker answers with, and Qwen's special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: place for place, character in enumerate(alphabet)}
    merges = [("y", "e"), ("ye", "s"), ("n", "o"), ("Ġ", "d"), ("Ċ", "Ċ")]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.normalizer = normalizers.NFC()
    pattern = Regex(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    tokenizer.add_tokens([AddedToken(token, special=False) for token in ("<think>", "</think>")])
    return tokenizer


def _save(kind: Any, config: PretrainedConfig, folder: Path, seed: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        kind(config).save_pretrained(folder)


MAKERS: tuple[Callable[..., Path], ...] = (
    make_xlm_roberta,
    make_bert,
    make_qwen3,
    make_modernbert,
    make_qwen2,
    make_distilbert,
)
"""One for each kind of reranker."""


def kind_of(maker: Callable[..., Path]) -> str:
    """What a maker makes, for test ids."""
    return maker.__name__.removeprefix("make_")


def make_language_model(
    folder: Path, kind: str, *, seed: int = 0, spm: bool = False, head: bool = False, **settings: Any
) -> Path:
    """A causal language model of a ``model_type`` without a template, in ``folder``; ``settings`` are its config's.

    Its tokenizer is Qwen's with more words or, with ``spm``, Mistral's. ``head``: converted to a classifier.
    """
    tokenizer = sentence_piece_tokenizer() if spm else worded_tokenizer(starts=kind not in ("qwen2", "qwen3"))
    fast: Any = PreTrainedTokenizerFast
    padding = "<unk>" if spm else "<|endoftext|>"
    fast(tokenizer_object=tokenizer, pad_token=padding, model_max_length=512).save_pretrained(folder)
    sizes = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 512,
        "initializer_range": 0.2,
        "pad_token_id": tokenizer.token_to_id(padding),
        "head_dim": 16 if kind in ("qwen3", "gemma") else 8,
        "sliding_window": None,
    }
    config = AutoConfig.for_model(kind, **sizes | settings)
    config.num_labels = 1
    models_of: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING if head else MODEL_FOR_CAUSAL_LM_MAPPING
    _save(models_of[type(config)], config, folder, seed)
    return folder


def make_bidirectional_llama(folder: Path, *, seed: int = 0) -> Path:
    """A Llama as llama-nemotron-rerank-1b-v2 is one, with code of its own that must not run, in ``folder``."""
    make_language_model(folder, "llama", seed=seed, head=True)
    add_own_code(folder, "AutoModelForSequenceClassification")
    change_config(
        folder,
        architectures=["LlamaBidirectionalForSequenceClassification"],
        model_type="llama_bidirec",
        pooling="avg",
        temperature=0.5,
    )
    return folder


def add_own_code(folder: Path, kind: str) -> None:
    """Lay code beside the checkpoint that says so if it runs, and name it in the configuration."""
    (folder / "own.py").write_text('raise RuntimeError("the checkpoint\'s own code ran")\n')
    change_config(folder, auto_map={"AutoConfig": "own.Config", kind: "own.Model"})


def change_config(folder: Path, **settings: Any) -> None:
    """Set these in ``config.json``."""
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


def worded_tokenizer(*, starts: bool) -> Tokenizer:
    """Qwen's with tokens of which a prompt's texts must not share any; ``starts``: ``<s>`` stands before a text."""
    content = json.loads(byte_level_tokenizer().to_str())
    vocabulary = content["model"]["vocab"]
    merges = [
        ("e", "s"),
        ("Y", "es"),
        ("N", "o"),
        ("?", "Ċ"),
        (".", "Ċ"),
        ("Ġ", "Ċ"),
        (":", "w"),
        (":", "Ġ"),
        ("Ġ", "?"),
    ]
    added = content.pop("added_tokens")
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    content["model"]["merges"] += [list(merge) for merge in merges]
    tokenizer: Tokenizer = Tokenizer.from_str(json.dumps(content | {"added_tokens": []}))
    tokenizer.add_special_tokens([AddedToken(token["content"], special=True) for token in added])
    if starts:
        tokenizer.add_special_tokens([AddedToken("<s>", special=True)])
        start = ("<s>", tokenizer.token_to_id("<s>"))
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[start])
    return tokenizer


def sentence_piece_tokenizer() -> Tokenizer:
    """As Mistral's: ``<s>`` before a text, a mark before its first word and for every space, no splitting, bytes."""
    tokens = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    tokens += [chr(code) for code in range(33, 127)]
    merges = [("▁", "<"), ("▁", "M"), ("?", "?"), ("▁", "??"), ("▁", "▁"), ("e", "n"), ("▁", "q")]
    tokens += ["".join(merge) for merge in merges]
    vocabulary = {token: place for place, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in ("<unk>", "<s>")])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer
