"""Real checkpoints with random weights, small enough to make in a test. The same arguments give the same bytes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModel,
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
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

from tests.support.tiny_tokenizers import (
    TEXTS,
    byte_level_tokenizer,
    unigram_tokenizer,
)


def make_xlm_roberta(
    folder: Path,
    positions: int = 514,
    *,
    seed: int = 0,
    labels: int = 1,
    hidden: int = 32,
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
        num_hidden_layers=2,
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
    save(XLMRobertaForSequenceClassification, config, folder, seed)
    return folder


def make_bert(folder: Path, *, seed: int = 0, activation: str | None = None) -> Path:
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
        model_max_length=128,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.5,
    )
    config.num_labels = 1
    if activation:
        config.sbert_ce_default_activation_function = activation
    save(BertForSequenceClassification, config, folder, seed)
    return folder


def make_qwen3(
    folder: Path, *, seed: int = 0, tied: bool = True, positions: int = 512, converted: bool = False
) -> Path:
    """A Qwen3 with the special tokens and the prompt of Qwen3-Reranker as its chat template, in ``folder``.

    Causal, or ``converted`` to a classifier with one label.
    """
    config = Qwen3Config(**_save_qwen_tokenizer(folder, positions), head_dim=16, tie_word_embeddings=tied)
    config.num_labels = 1
    save(Qwen3ForSequenceClassification if converted else Qwen3ForCausalLM, config, folder, seed)
    return folder


def make_qwen2(folder: Path, *, seed: int = 0) -> Path:
    """A causal Qwen2 with a prompt of its own: only sentence-transformers scores it."""
    config = Qwen2Config(**_save_qwen_tokenizer(folder, 512))
    save(Qwen2ForCausalLM, config, folder, seed)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("Judge whether", "Decide whether"))
    return folder


def make_modernbert(folder: Path, *, seed: int = 0, layers: int = 4, **settings: Any) -> Path:
    """A ModernBERT reranker, as gte-reranker-modernbert-base is one, whose windows are 8 tokens wide, in ``folder``.

    ``settings`` are its config's.
    """
    make_bert(folder, seed=seed)
    vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
    special = {f"{name}_token_id": place for place, name in enumerate(("pad", "bos", "cls", "sep", "eos"))}
    config = AutoConfig.for_model(
        "modernbert",
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.5,
        num_labels=1,
        **special,
        **{"local_attention": 8} | settings,
    )
    save(ModernBertForSequenceClassification, config, folder, seed)
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
    save(DistilBertForSequenceClassification, config, folder, seed)
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
    # importing it takes seconds, and most tests need none
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    base = folder / "base"
    make_base(base, seed=seed)
    AutoModel.from_pretrained(base).save_pretrained(base)
    transformer = Transformer(str(base))
    modules = [transformer, Pooling(transformer.get_embedding_dimension(), pooling_mode=pooling), Normalize()]
    SentenceTransformer(modules=modules, device="cpu", prompts=prompts).save(str(folder), create_model_card=False)
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


def save(kind: Any, config: PretrainedConfig, folder: Path, seed: int) -> None:
    """A model of random weights, in ``folder``."""
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
