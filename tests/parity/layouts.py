"""Folders laid out as published rerankers are, with random weights, for the tests of layouts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.cross_encoder.modules import LogitScore
from sentence_transformers.sentence_transformer.modules import LayerNorm, Normalize, Pooling
from tokenizers import Tokenizer, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.devices import choose_device
from rerank.scorers.base import Placement, Scorer
from rerank.scorers.load import load_scorer
from tests.support.tiny_checkpoints import make_bert, make_qwen3, make_xlm_roberta

CHAT = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{% endfor %}{{ '<|im_start|>assistant\\n' }}"
)
"""A chat's template: it names no role, so it shows nothing."""
ROLE = '{{ messages | selectattr("role", "eq", "%s") | map(attribute="content") | first }}'
QUERY, DOCUMENT = ROLE % "query", ROLE % "document"
INSTRUCTION = (
    '{% set asked = messages | selectattr("role", "eq", "system") | map(attribute="content") | first %}'
    "{% if asked %}{before}{{ asked }}{after}{% endif %}"
)
ZERANK = f"<|im_start|>system\n{QUERY}<|im_end|>\n<|im_start|>user\n{DOCUMENT}<|im_end|>\n<|im_start|>assistant\n\n"
_ANSWER = "<|im_start|>assistant\n"
ZERANK_ON_DEMAND = ZERANK.replace(f"{_ANSWER}\n", f"{{% if add_generation_prompt %}}{_ANSWER}{{% endif %}}")
"""As published: what begins the answer is asked for in sentence-transformers' settings."""
CTXL = (
    "Check whether a given document contains information helpful to answer the query.\n"
    f"<Document> {DOCUMENT}\n<Query> {QUERY}" + INSTRUCTION.replace("{before}", " ").replace("{after}", "") + " ??"
)
MXBAI = (
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n"
    + INSTRUCTION.replace("{before}", "instruction: ").replace("{after}", "\n")
    + f"query: {QUERY}\ndocument: {DOCUMENT}\nYou are a search relevance expert who evaluates how well documents match "
    "search queries. For each query-document pair, carefully analyze the semantic relationship between them, then "
    "provide your binary relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:<|im_end|>\n"
    "<|im_start|>assistant\n\n"
)
GEMMA = (
    f"A: {QUERY}\nB: {DOCUMENT}\nGiven a query A and a passage B, determine whether the passage contains an answer to "
    "the query by providing a prediction of either 'Yes' or 'No'."
)
NEMOTRON = f"question:{QUERY} \n \n passage:{DOCUMENT}"

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.5,
}
BART: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
}
"""Sizes of a network with an encoder and a decoder."""
GROUPED = {"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 1024, "initializer_range": 0.2}


BY_VERSION_5: dict[str, Any] = {"sentence_transformers": {"version": "5.1.0"}}
"""What version 5 of sentence-transformers, and 4, left in config.json of a cross-encoder, which read plain pairs."""

Make = Callable[[Path], object]
Reference = Callable[[Path, Sequence[tuple[str, str]]], list[float]]
"""A model's own procedure: raw scores of pairs."""


def load(folder: Path, card: ModelCard) -> Scorer:
    """The scorer of the folder, in plain torch and fp32."""
    placement = Placement(choose_device("cpu", "fp32", "torch"), folder.parent / ".openvino")
    return load_scorer(read_checkpoint(folder, card), card, placement)


def then(*steps: Make) -> Make:
    """The steps one after another, each changing the folder that the others made."""

    def make(folder: Path) -> None:
        for step in steps:
            step(folder)

    return make


def rewrite(file: Path, **changes: Any) -> None:
    """Change a JSON object in a file; None takes a key away."""
    content = json.loads(file.read_text()) if file.is_file() else {}
    kept = {key: value for key, value in (content | changes).items() if value is not None}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(kept))


def put_template(folder: Path, template: str | None) -> None:
    file = folder / "chat_template.jinja"
    file.unlink(missing_ok=True)
    if template is not None:
        file.write_text(template)


def encoder(folder: Path, model_type: str, *, body: bool = False, **changes: Any) -> Path:
    """A model of this type around the tokenizer of ``make_bert``: with a head of one label, or the ``body`` alone.

    None among the ``changes`` leaves a setting out.
    """
    vocabulary = json.loads((make_bert(folder) / "config.json").read_text())["vocab_size"]
    asked = SIZES | {"vocab_size": vocabulary, "max_position_embeddings": 128, "pad_token_id": 0} | changes
    asked = {name: value for name, value in asked.items() if value is not None}
    _save(AutoModel if body else AutoModelForSequenceClassification, model_type, folder, **{"num_labels": 1} | asked)
    return folder


def xlm_roberta_of_version_4(folder: Path, body: str = "xlm-roberta") -> Path:
    """An XLM-RoBERTa, or another body around its tokenizer, with a setting that transformers 4 left alone."""
    vocabulary = json.loads((make_xlm_roberta(folder) / "config.json").read_text())["vocab_size"]
    asked = SIZES | {"vocab_size": vocabulary, "max_position_embeddings": 514, "pad_token_id": 1, "num_labels": 1}
    _save(AutoModelForSequenceClassification, body, folder, **asked)
    file = folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.save(str(file))
    rewrite(folder / "tokenizer_config.json", tokenizer_class="XLMRobertaTokenizer", add_prefix_space=False)
    return folder


def deberta(folder: Path, **changes: Any) -> Path:
    """A DeBERTa-v3 as published ones are, with buckets that begin after four tokens."""
    published: dict[str, Any] = {
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "position_biased_input": False,
        "type_vocab_size": 0,
    }
    return encoder(folder, "deberta-v2", **published | changes)


def causal(folder: Path, model_type: str, template: str | None, *, classifier: bool = False, **changes: Any) -> Path:
    """A language model of this type around the tokenizer of ``make_qwen3``, or a ``classifier`` with one label."""
    make_qwen3(folder, positions=1024)
    vocabulary = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    put_template(folder, template)
    rewrite(folder / "tokenizer_config.json", chat_template=None)
    asked = SIZES | GROUPED | {"vocab_size": vocabulary, "pad_token_id": vocabulary - 5} | changes
    kind = AutoModelForSequenceClassification if classifier else AutoModelForCausalLM
    _save(kind, model_type, folder, **{"num_labels": 1} | asked)
    return folder


def _save(kind: Any, model_type: str, folder: Path, **asked: Any) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kind.from_config(AutoConfig.for_model(model_type, **asked)).save_pretrained(folder)


def with_logit_score(folder: Path, true: int, false: int | None = None, activation: Any = None) -> Path:
    """The folder, saved by sentence-transformers with the words that are scored."""
    base = folder.rename(folder.with_name("base"))
    modules = [Transformer(str(base), transformer_task="text-generation"), LogitScore(true, false)]
    CrossEncoder(modules=modules, device="cpu", activation_fn=activation or torch.nn.Identity()).save(
        str(folder), create_model_card=False
    )
    shutil.rmtree(base)
    return folder


def reading_plain_texts(folder: Path, *words: Any) -> Path:
    """The folder, saved by sentence-transformers to read pairs without its chat template; ``words`` are scored."""
    base = folder.rename(folder.with_name("base"))
    task, output = ("text-generation", "causal_logits") if words else ("sequence-classification", "scores")
    read = {"text": {"method": "forward", "method_output_name": "logits"}}
    asked: Any = {"transformer_task": task, "modality_config": read, "module_output_name": output}
    modules = [Transformer(str(base), **asked), *([LogitScore(*words)] if words else [])]
    CrossEncoder(modules=modules, device="cpu").save(str(folder), create_model_card=False)
    shutil.rmtree(base)
    return folder


def with_settings(**settings: Any) -> Make:
    """Settings of the first module of sentence-transformers; None takes one away."""
    return lambda folder: rewrite(folder / "sentence_bert_config.json", **settings)


def with_trained_output(folder: Path, embeddings: str = "model.embed_tokens.weight") -> Path:
    """The folder with an output matrix of its own, whatever its config.json says."""
    weights = load_file(folder / "model.safetensors")
    change = torch.randn(weights[embeddings].shape, generator=torch.Generator().manual_seed(1))
    weights["lm_head.weight"] = weights[embeddings] + 0.3 * change
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def beginning_answers(folder: Path) -> Path:
    """The folder, whose prompts end with what begins an answer."""
    file = folder / "sentence_bert_config.json"
    settings = json.loads(file.read_text())
    file.write_text(json.dumps(settings | {"processing_kwargs": {"chat_template": {"add_generation_prompt": True}}}))
    return folder


def chain(folder: Path, pooling: str, *, normalised: bool = False) -> Path:
    """The body in the folder, saved by sentence-transformers with pooling and a small head of one score."""
    base = folder.rename(folder.with_name("base"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        modules: list[Any] = [Transformer(str(base)), Pooling(32, pooling_mode=pooling)]
        if normalised:
            modules += [Dense(32, 16, activation_function=torch.nn.GELU()), LayerNorm(16)]
        last = Dense(16 if normalised else 32, 1, activation_function=None, module_output_name="scores")
        CrossEncoder(modules=[*modules, last], device="cpu", activation_fn=torch.nn.Identity()).save(
            str(folder), create_model_card=False
        )
    shutil.rmtree(base)
    return folder


def embeddings(folder: Path, pooling: str = "mean", *, dense: int = 0, normalised: bool = True, **prompts: str) -> Path:
    """The body in the folder as an embedding model, with up to two ``dense`` layers."""
    base = folder.rename(folder.with_name("base"))
    put_template(base, None)
    transformer = Transformer(str(base))
    modules: list[Any] = [transformer, Pooling(transformer.get_embedding_dimension(), pooling_mode=pooling)]
    modules += [Dense(32, 16), Dense(16, 32, bias=False, activation_function=torch.nn.Identity())][:dense]
    modules += [Normalize()] if normalised else []
    SentenceTransformer(modules=modules, device="cpu", prompts=prompts or None).save(
        str(folder), create_model_card=False
    )
    shutil.rmtree(base)
    return folder


def listed_modules(folder: Path, pooling: str) -> None:
    """The files that make an embedding model of a folder which sentence-transformers itself cannot load."""
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    listed = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (path, kind) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    rewrite(folder / "1_Pooling" / "config.json", **{f"pooling_mode_{pooling}_token": True})


def ending(folder: Path, kind: str = "<|endoftext|>") -> Path:
    """The folder whose tokenizer puts a token behind every text, as that of Qwen3-Embedding does."""
    file = folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {kind}", pair=f"$A {kind} $B {kind}", special_tokens=[(kind, tokenizer.token_to_id(kind))]
    )
    tokenizer.save(str(file))
    return folder


def said_to_be_causal(folder: Path, prefix: str) -> Path:
    """An embedding model whose config.json names a language model, and its tensors with ``prefix``."""
    rewrite(folder / "config.json", architectures=["Qwen3ForCausalLM"])
    weights = load_file(folder / "model.safetensors")
    bare = {name.removeprefix("model."): weight for name, weight in weights.items()}
    renamed = {prefix + name: weight for name, weight in bare.items()}
    save_file(renamed, folder / "model.safetensors", {"format": "pt"})
    rewrite(folder / "config_sentence_transformers.json", model_type=None)
    return folder


ETTIN = then(partial(encoder, model_type="modernbert", body=True), partial(chain, pooling="cls", normalised=True))


def two_hundred_texts() -> list[str]:
    """Texts that differ in a word or two."""
    words = ["machine", "learning", "is", "a", "branch", "of", "the", "giant", "panda", "bear"]
    return [f"{words[number % 10]} {words[number // 10 % 10]} {words[number // 100]} a" for number in range(200)]


# references


def by_hand(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """A classifier of transformers, one pair at a time, as the tokenizer lays it out."""
    return [float(logits) for logits in _logits_by_hand(folder, pairs)]


def labels_by_hand(against: int, for_it: int) -> Callable[[Path, Sequence[tuple[str, str]]], list[float]]:
    """The same, the logit of one label less that of another."""

    def reference(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[float]:
        return [float(logits[for_it] - logits[against]) for logits in _logits_by_hand(folder, pairs)]

    return reference


@torch.inference_mode()
def _logits_by_hand(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[torch.Tensor]:
    model: Any = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [
        model.eval()(**tokenizer([pair[0]], [pair[1]], truncation=True, return_tensors="pt")).logits[0]
        for pair in pairs
    ]


@torch.inference_mode()
def tokenised_as_saved(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """A classifier of transformers, one pair at a time, by tokenizer.json as it stands, as version 4 read it."""
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = [torch.tensor([tokenizer.encode(*pair).ids]) for pair in pairs]
    return [float(model.eval()(input_ids=tokens).logits[0, 0]) for tokens in ids]


def asked_by_hand(
    prompt: Callable[[str, str], str | Sequence[str]], true: int | str, false: int | str | None = None
) -> Callable[[Path, Sequence[tuple[str, str]]], list[float]]:
    """A language model of transformers, whole vocabulary, one prompt at a time, in texts that are tokenised apart."""

    @torch.inference_mode()
    def reference(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[float]:
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
        tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        yes, no = (tokenizer.token_to_id(word) if isinstance(word, str) else word for word in (true, false))
        scores = []
        for query, document in pairs:
            texts = prompt(query, document)
            parts = [texts] if isinstance(texts, str) else texts
            ids = [token for part in parts for token in tokenizer.encode(part, add_special_tokens=False).ids]
            last = model(torch.tensor([ids])).logits[0, -1]
            scores.append(float(last[yes] - (0.0 if no is None else last[no])))
        return scores

    return reference


def saved_cross_encoder(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[float]:
    scores: list[float] = (
        CrossEncoder(str(folder), device="cpu").predict(list(pairs), activation_fn=torch.nn.Identity()).tolist()
    )
    return scores


def prefixed_embeddings(query: str, document: str) -> Reference:
    """Vectors of texts behind prefixes that no file of the model holds."""

    def reference(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[float]:
        model = SentenceTransformer(str(folder), device="cpu")
        queries, documents = (
            model.encode([prefix + text for text in texts], normalize_embeddings=True)
            for prefix, texts in zip((query, document), zip(*pairs, strict=True), strict=True)
        )
        return [float(one @ other) for one, other in zip(queries, documents, strict=True)]

    return reference


def saved_embeddings(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[float]:
    model = SentenceTransformer(str(folder), device="cpu")
    queries = model.encode_query([query for query, _ in pairs], normalize_embeddings=True)
    documents = model.encode_document([document for _, document in pairs], normalize_embeddings=True)
    return [float(query @ document) for query, document in zip(queries, documents, strict=True)]
