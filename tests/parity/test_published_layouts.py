"""Published rerankers and embedding models, one row per layout: each scores as its own procedure does.

The layouts that are refused are in ``test_refused_layouts``. Weights are random and small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForSeq2SeqLM, AutoModelForSequenceClassification, AutoTokenizer

from rerank.activations import COSINE, IDENTITY, SIGMOID, Activation
from rerank.catalog.built_in import BUILT_IN
from rerank.catalog.cards import ModelCard
from rerank.catalog.prompts import PROMPTS, QWEN3_RERANKER, PromptFormat
from rerank.catalog.text_prompts import TextPrompts
from rerank.core import DEFAULT_OPTIONS, Chunking, Pair, ScoringOptions, Truncation
from rerank.gateway.chunks import chunk_pairs
from rerank.scorers.base import Scorer, finish, score
from rerank.scorers.chunks import read_chunks
from rerank.scorers.pickles import convert_pickles
from tests.parity.japanese import japanese_by_hand, make_japanese
from tests.parity.late import (
    make_multi_vector,
    make_pylate,
    make_stanford,
    pylate_by_hand,
    saved_late,
    stanford_by_hand,
)
from tests.parity.layouts import (
    BY_VERSION_5,
    CHAT,
    CTXL,
    ETTIN,
    GEMMA,
    MXBAI,
    ZERANK,
    ZERANK_ON_DEMAND,
    Make,
    Reference,
    asked_by_hand,
    beginning_answers,
    by_hand,
    causal,
    chain,
    deberta,
    embeddings,
    encoder,
    ending,
    labels_by_hand,
    listed_modules,
    load,
    prefixed_embeddings,
    put_template,
    reading_plain_texts,
    rewrite,
    said_to_be_causal,
    saved_cross_encoder,
    saved_embeddings,
    then,
    tokenised_as_saved,
    with_logit_score,
    with_settings,
    with_trained_output,
    xlm_roberta_of_version_4,
)
from tests.parity.own_layouts import flash_by_hand, make_flash, make_new, new_by_hand, new_vectors_by_hand
from tests.parity.t5 import first_word, make_t5
from tests.support.tiny_checkpoints import make_bert, make_qwen3, make_xlm_roberta
from tests.support.tiny_language_models import make_language_model

WEB_SEARCH = "Given a web search query, retrieve relevant passages that answer the query"
TEXTS = [
    "Machine learning is a branch of AI",
    "",
    "机器学习",
    "one more word " * 9,
    "a",
    "the giant panda\n\nis a bear",
]
PAIRS = [("what is machine learning?", text) for text in TEXTS]


def right(name: str, make: Make, reference: Reference, activation: Activation = SIGMOID, **card: Any) -> Any:
    """A row that is scored."""
    return pytest.param(make, reference, activation, {"id": "tiny"} | card, id=name)


def identity(where: str) -> Make:
    """A BERT whose checkpoint asks for raw logits, in one of the three ways of sentence-transformers' versions."""
    name = "torch.nn.modules.linear.Identity"

    def make(folder: Path) -> None:
        if where == "legacy":
            make_bert(folder, activation=name)
            return
        make_bert(folder)
        if where == "v4":
            rewrite(folder / "config.json", sentence_transformers={"activation_fn": name})
        else:
            rewrite(folder / "config_sentence_transformers.json", activation_fn=name, model_type="CrossEncoder")

    return make


ARCTIC: dict[str, Any] = {
    "architectures": ["GteModel"],
    "model_type": "gte",
    "auto_map": {
        "AutoConfig": "configuration_hf_alibaba_nlp_gte.GteConfig",
        "AutoModel": "modeling_hf_alibaba_nlp_gte.GteModel",
    },
}
embedding_gemma = then(
    partial(
        causal,
        model_type="gemma3_text",
        template=None,
        num_hidden_layers=3,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"],
        sliding_window=8,
        use_bidirectional_attention=True,
    ),
    ending,
    partial(embeddings, dense=2, query="query: ", document="text: "),
)
"""Tokens see those of both sides, in windows; two projections follow."""


def without(file: str, *keys: str) -> Callable[[Path], None]:
    return lambda folder: rewrite(folder / file, **dict.fromkeys(keys))


def with_tokenizer(folder: Path, **settings: Any) -> None:
    rewrite(folder / "tokenizer_config.json", **settings)


def only_a_vocabulary(folder: Path) -> None:
    make_bert(folder)
    vocabulary = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)) + "\n")
    rewrite(folder / "tokenizer_config.json", tokenizer_class="BertTokenizer")


def qwen3_words(folder: Path) -> None:
    with_logit_score(folder, 257, 258)


def words_elsewhere(folder: Path) -> None:
    """The scored words in a folder of another name than usual."""
    (folder / "1_LogitScore").rename(folder / "3_Words")
    modules = folder / "modules.json"
    modules.write_text(modules.read_text().replace("1_LogitScore", "3_Words"))


def converted_head(folder: Path, *, trained: bool = False) -> None:
    """A classifier whose head is the direction from no to yes, as conversions of Qwen3-Reranker have it.

    ``trained``: of an output matrix of its own, which the file still holds.
    """
    make_qwen3(folder, converted=True)
    put_template(folder, None)
    weights = load_file(folder / "model.safetensors")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    rows = weights["model.embed_tokens.weight"]
    if trained:
        rows = weights["lm_head.weight"] = torch.randn(rows.shape, generator=torch.Generator().manual_seed(1))
    words = [rows[tokenizer.token_to_id(word)] for word in ("yes", "no")]
    weights["score.weight"] = (words[0] - words[1])[None]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def only_a_pickle(folder: Path) -> None:
    """The weights as they were saved before safetensors."""
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def asking_for_raw_logits(folder: Path) -> None:
    rewrite(folder / "config.json", sentence_transformers={"activation_fn": "torch.nn.modules.linear.Identity"})


def saved_chain(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """The modules as they were saved, with the class that saved them."""
    rewrite(folder / "config_sentence_transformers.json", model_type="CrossEncoder")
    return saved_cross_encoder(folder, pairs)


def qwen3_prompt(query: str, document: str) -> str:
    return (
        f"{QWEN3_RERANKER.system}{QWEN3_RERANKER.ask(QWEN3_RERANKER.instruction, query)} {document}"
        f"{QWEN3_RERANKER.suffix}"
    )


RANKLLAMA = PromptFormat(system="", request="query: {query}", lead="document: ", suffix="", special_start=True)
"""As the cards of RankLLaMA and DeAR have it, for a tokenizer that puts no token before texts."""


def after_rankllamas_prompt(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[float]:
    texts = [f"query: {query}document: {document}" for query, document in pairs]
    return [float(logits) for logits in head_logits(folder, texts)]


def head_after_prompt(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[float]:
    return [float(logits) for logits in head_logits(folder, [qwen3_prompt(*pair) for pair in pairs])]


@torch.inference_mode()
def t5_scores(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """transformers' own logits of the first word, from the whole vocabulary."""
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("▁true", "▁false"))
    scores = []
    for query, document in pairs:
        asked = tokenizer(f"Query: {query} Document: {document} Relevant:", return_tensors="pt").input_ids
        logits = model(input_ids=asked, decoder_input_ids=torch.tensor([[0]])).logits[0, 0]
        scores.append(float(logits[yes] - logits[no]))
    return scores


def two_labels_after_prompt(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[float]:
    return [float(logits[1] - logits[0]) for logits in head_logits(folder, [mxbai_prompt(*pair) for pair in pairs])]


@torch.inference_mode()
def head_logits(folder: Path, prompts: Sequence[str]) -> list[torch.Tensor]:
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = [tokenizer.encode(prompt, add_special_tokens=False).ids for prompt in prompts]
    return [model(torch.tensor([tokens])).logits[0] for tokens in ids]


yes_or_no = asked_by_hand(qwen3_prompt, "yes", "no")


def zerank_prompt(query: str, document: str) -> str:
    return f"<|im_start|>system\n{query}<|im_end|>\n<|im_start|>user\n{document}<|im_end|>\n<|im_start|>assistant\n"


def ctxl_prompt(query: str, document: str) -> str:
    return (
        "Check whether a given document contains information helpful to answer the query.\n"
        f"<Document> {document}\n<Query> {query} ??"
    )


def gemma_prompt(query: str, document: str) -> str:
    return (
        f"A: {query}\nB: {document}\nGiven a query A and a passage B, determine whether the passage contains an answer "
        "to the query by providing a prediction of either 'Yes' or 'No'."
    )


def gemma_texts(query: str, document: str) -> list[str]:
    """As FlagEmbedding tokenises them."""
    whole = gemma_prompt("", "")
    return ["<s>", f"A: {query}", "\n", f"B: {document}", "\n", whole[whole.index("Given") :]]


def mxbai_prompt(query: str, document: str, instruction: str = "") -> str:
    asked = f"instruction: {instruction}\n" if instruction else ""
    _, _, rest = MXBAI.partition("{% endif %}")
    rest = rest[rest.index("\nYou are") :].removesuffix("\n")
    return f"{MXBAI[: MXBAI.index('{%')]}{asked}query: {query}\ndocument: {document}{rest}"


EMPTY: dict[str, Any] = {}
RIGHT = [
    right("bge-reranker-base-large-v2-m3", make_xlm_roberta, by_hand),
    right("bce-reranker-converted-from-a-pickle", then(make_xlm_roberta, only_a_pickle, convert_pickles), by_hand),
    right("ms-marco-legacy-identity", identity("legacy"), by_hand, IDENTITY),
    right("ms-marco-v4-identity", identity("v4"), by_hand, IDENTITY),
    right("ms-marco-v6-identity", identity("v6"), by_hand, IDENTITY),
    right("ms-marco-only-vocab-txt", only_a_vocabulary, by_hand),
    right("bert-without-type-vocab-size", then(make_bert, without("config.json", "type_vocab_size")), by_hand),
    right("xlm-r-without-pad-token-id", then(make_xlm_roberta, without("config.json", "pad_token_id")), by_hand),
    right("polish-reranker-ranknet", xlm_roberta_of_version_4, tokenised_as_saved),
    right(
        "polish-reranker-ranknet-with-a-body-in-the-fallback",
        partial(xlm_roberta_of_version_4, body="data2vec-text"),
        tokenised_as_saved,
    ),
    *(
        right(
            f"bert-with-a-{kind}-of-unnamed-inputs",
            then(
                make_bert,
                without("tokenizer_config.json", "model_input_names"),
                partial(with_tokenizer, tokenizer_class=kind),
            ),
            by_hand,
        )
        for kind in ("TokenizersBackend", "DistilBertTokenizer", "BertTokenizer")
    ),
    right(
        "bert-that-keeps-capitals-and-names-no-tokenizer",
        then(
            make_bert,
            without("tokenizer_config.json", "tokenizer_class", "backend"),
            partial(with_tokenizer, do_lower_case=False),
        ),
        by_hand,
    ),
    right(
        "chain-whose-last-layer-keeps-its-tanh",
        then(
            partial(encoder, model_type="modernbert", body=True),
            partial(chain, pooling="cls"),
            without("2_Dense/config.json", "activation_function"),
        ),
        saved_cross_encoder,
        IDENTITY,
    ),
    right(
        "mpnet-whose-length-is-that-of-its-table",
        then(
            partial(encoder, model_type="mpnet", body=True, max_position_embeddings=130, pad_token_id=1),
            partial(with_tokenizer, model_max_length=130),
            embeddings,
            lambda folder: rewrite(folder / "sentence_bert_config.json", max_seq_length=None),
        ),
        saved_embeddings,
        COSINE,
    ),
    right(
        "e5-whose-files-hold-no-prefixes",
        then(partial(encoder, model_type="bert", body=True), embeddings),
        prefixed_embeddings("query: ", "passage: "),
        COSINE,
        repo="intfloat/e5-base-v2",
    ),
    right(
        "multilingual-e5-large-instruct",
        then(partial(encoder, model_type="xlm-roberta", body=True), embeddings),
        prefixed_embeddings(f"Instruct: {WEB_SEARCH}\nQuery: ", ""),
        COSINE,
        repo="intfloat/multilingual-e5-large-instruct",
    ),
    right(
        "mistral-of-e5-whose-files-hold-prompts-by-task",
        then(
            partial(causal, model_type="mistral", template=None),
            ending,
            partial(
                embeddings,
                pooling="lasttoken",
                web_search_query=f"Instruct: {WEB_SEARCH}\nQuery: ",
                sts_query="Instruct: Retrieve semantically similar text.\nQuery: ",
            ),
        ),
        prefixed_embeddings(f"Instruct: {WEB_SEARCH}\nQuery: ", ""),
        COSINE,
    ),
    right(
        "embeddings-whose-card-says-the-task",
        then(
            partial(encoder, model_type="bert", body=True),
            partial(embeddings, sts_query="Instruct: Retrieve text.\nQuery: ", title_query="Instruct: x\nQuery: "),
        ),
        prefixed_embeddings("Instruct: Find what is alike.\nQuery: ", ""),
        COSINE,
        instruction="Find what is alike.",
    ),
    right(
        "embeddings-whose-card-says-that-queries-stand-alone",
        then(partial(encoder, model_type="bert", body=True), partial(embeddings, to_query="find: ", passage="in: ")),
        prefixed_embeddings("", "in: "),
        COSINE,
        prompts=TextPrompts(query=""),
    ),
    right(
        "stella-whose-files-hold-prompts-by-kind",
        then(
            partial(encoder, model_type="bert", body=True),
            partial(embeddings, dense=1, s2p_query="find: ", s2s_query="as: "),
        ),
        prefixed_embeddings("find: ", ""),
        COSINE,
    ),
    right(
        "embeddings-with-a-prompt-for-a-corpus",
        then(partial(encoder, model_type="bert", body=True), partial(embeddings, query="find: ", corpus="in: ")),
        prefixed_embeddings("find: ", "in: "),
        COSINE,
    ),
    right(
        "bge-zh-v1.5-in-the-fallback",
        then(partial(encoder, model_type="bert", body=True), partial(embeddings, dense=1)),
        prefixed_embeddings("为这个句子生成表示以用于检索相关文章：", ""),
        COSINE,
        repo="BAAI/bge-small-zh-v1.5",
    ),
    right(
        "nomic-embed-whose-files-hold-a-prompt",
        then(partial(encoder, model_type="bert", body=True), partial(embeddings, query="the query: ")),
        prefixed_embeddings("the query: ", "search_document: "),
        COSINE,
        repo="nomic-ai/nomic-embed-text-v1.5",
    ),
    right(
        "embeddings-whose-card-says-the-prefixes",
        then(partial(encoder, model_type="bert", body=True), partial(embeddings, query="the query: ")),
        prefixed_embeddings("is it ", "a panda "),
        COSINE,
        prompts=TextPrompts("is it ", "a panda "),
    ),
    right("stsb-quora-qnli-roberta", partial(encoder, model_type="roberta", pad_token_id=1), saved_cross_encoder),
    right("mmarco-mMiniLMv2", partial(make_xlm_roberta, seed=3), by_hand),
    right("ms-marco-trecdl22-electra", partial(encoder, model_type="electra", embedding_size=32), by_hand),
    right("mxbai-rerank-v1-trecdl22-deberta", deberta, by_hand),
    right("gte-modernbert-granite-ruri", partial(encoder, model_type="modernbert"), by_hand),
    right("distilbert-german", partial(encoder, model_type="distilbert", dim=32, n_layers=2, n_heads=4), by_hand),
    right("camembert", partial(encoder, model_type="camembert", pad_token_id=1), saved_cross_encoder),
    right("gte-multilingual-as-transformers-has-it", partial(encoder, model_type="gte", type_vocab_size=2), by_hand),
    right(
        "gte-multilingual-reranker-as-published",
        partial(make_new, scaling={"factor": 8.0, "type": "ntk"}),
        new_by_hand,
    ),
    right("gte-multilingual-reranker-whose-code-is-trusted", make_new, new_by_hand, trust_remote_code=True),
    right("gte-en-v1.5-classifier", partial(make_new, types=2), new_by_hand),
    right(
        "gte-en-v1.5-classifier-without-types",
        partial(make_new, types=0, scaling={"factor": 2.0, "type": "ntk"}),
        new_by_hand,
    ),
    right(
        "gte-en-v1.5-without-types",
        then(
            partial(make_new, types=0, head=False, scaling={"factor": 2.0, "type": "ntk"}),
            lambda folder: listed_modules(folder, "cls"),
        ),
        new_vectors_by_hand,
        COSINE,
    ),
    right(
        "gte-base-without-new-in-names",
        then(partial(make_new, head=False, prefix=""), lambda folder: listed_modules(folder, "cls")),
        new_vectors_by_hand,
        COSINE,
    ),
    right(
        "arctic-embed-m-v2.0",
        then(
            partial(make_new, head=False, prefix="", **ARCTIC),
            lambda folder: listed_modules(folder, "cls"),
        ),
        new_vectors_by_hand,
        COSINE,
    ),
    right(
        "gte-multilingual-base",
        then(
            partial(make_new, head=False, scaling={"factor": 8.0, "type": "ntk"}),
            lambda folder: listed_modules(folder, "cls"),
        ),
        new_vectors_by_hand,
        COSINE,
    ),
    right("jina-reranker-v2-as-published", make_flash, flash_by_hand),
    right(
        "amberoad-monobert-two-labels",
        partial(encoder, model_type="bert", num_labels=2),
        labels_by_hand(0, 1),
        labels=(0, 1),
    ),
    right(
        "nli-three-labels",
        then(partial(make_xlm_roberta, labels=3), asking_for_raw_logits),
        labels_by_hand(2, 0),
        labels=(2, 0),
    ),
    right(
        "nli-three-labels-in-the-fallback",
        partial(encoder, model_type="albert", embedding_size=32, num_labels=3),
        labels_by_hand(0, 2),
        labels=(0, 2),
    ),
    right(
        "mxbai-v2-seq-two-labels",
        partial(causal, model_type="qwen2", template=None, classifier=True, num_labels=2),
        two_labels_after_prompt,
        prompt=PROMPTS["mxbai-rerank-v2"],
        labels=(0, 1),
    ),
    right("monoptt5", make_t5, partial(first_word, prompt=PROMPTS["monoptt5"]), id="unicamp-dl/monoptt5-base"),
    right("mt5-true", make_t5, partial(first_word, prompt=PROMPTS["mt5-true"]), id="unicamp-dl/mt5-13b-mmarco-100k"),
    right("japanese-reranker-v1-mecab", make_japanese, japanese_by_hand),
    right("monot5-by-its-card", make_t5, partial(first_word, prompt=PROMPTS["monot5"]), prompt=PROMPTS["monot5"]),
    right(
        "monot5-with-a-trained-output-matrix",
        then(make_t5, partial(with_trained_output, embeddings="shared.weight")),
        t5_scores,
        prompt=PROMPTS["monot5"],
    ),
    right(
        "mt5-mmarco-of-a-known-repository",
        partial(make_t5, kind="mt5"),
        partial(first_word, prompt=PROMPTS["mt5-mmarco"]),
        repo="unicamp-dl/mt5-base-mmarco-v2",
    ),
    right(
        "ettin-reranker",
        ETTIN,
        saved_cross_encoder,
        IDENTITY,
    ),
    right(
        "ettin-reranker-whose-files-name-no-class",
        then(ETTIN, without("config_sentence_transformers.json", "model_type")),
        saved_chain,
        IDENTITY,
    ),
    right(
        "zerank-2-whose-files-name-no-class",
        then(
            partial(causal, model_type="qwen3", template=ZERANK.replace("system", "user")),
            lambda folder: with_logit_score(folder, 7),
            without("config_sentence_transformers.json", "model_type"),
        ),
        saved_chain,
        IDENTITY,
    ),
    right(
        "lean-chain-without-template",
        then(
            partial(causal, model_type="qwen3", template=None),
            partial(chain, pooling="lasttoken"),
        ),
        saved_cross_encoder,
        IDENTITY,
    ),
    right(
        "lean-chain-with-template",
        then(partial(causal, model_type="qwen3", template=ZERANK), partial(chain, pooling="lasttoken")),
        saved_cross_encoder,
        IDENTITY,
    ),
    right("qwen3-reranker", make_qwen3, yes_or_no),
    right(
        "qwen3-reranker-with-st-files-gives-raw-logits",
        then(make_qwen3, lambda folder: with_logit_score(folder, 257, 258)),
        yes_or_no,
        IDENTITY,
    ),
    right(
        "qwen3-reranker-before-2026-by-its-built-in-card",
        then(make_qwen3, lambda folder: put_template(folder, CHAT)),
        yes_or_no,
        id="Qwen/Qwen3-Reranker-0.6B",
    ),
    right("qwen3-reranker-tied-with-a-trained-output-matrix", then(make_qwen3, with_trained_output), yes_or_no),
    right(
        "qwen3-reranker-with-st-files-and-a-trained-output-matrix",
        then(make_qwen3, with_trained_output, qwen3_words),
        saved_cross_encoder,
        IDENTITY,
    ),
    right(
        "qwen3-reranker-words-in-another-folder",
        then(make_qwen3, lambda folder: with_logit_score(folder, 7, 9), words_elsewhere),
        saved_cross_encoder,
        IDENTITY,
    ),
    right(
        "qwen3-reranker-in-lower-case",
        then(make_qwen3, qwen3_words, with_settings(do_lower_case=True)),
        saved_cross_encoder,
        IDENTITY,
    ),
    right(
        "qwen3-reranker-shorter-by-a-setting-of-its-tokenizer",
        then(make_qwen3, qwen3_words, with_settings(processing_kwargs={"text": {"max_length": 400}})),
        saved_cross_encoder,
        IDENTITY,
    ),
    right(
        "qwen3-reranker-on-plain-texts",
        then(make_qwen3, lambda folder: reading_plain_texts(folder, 257, 258)),
        saved_cross_encoder,
    ),
    right(
        "qwen3-reranker-seq-cls-on-plain-texts",
        then(partial(make_qwen3, converted=True), reading_plain_texts),
        saved_cross_encoder,
    ),
    right(
        "qwen3-reranker-seq-cls-saved-before-templates-were-read",
        then(
            partial(make_qwen3, converted=True),
            reading_plain_texts,
            with_settings(modality_config=None, module_output_name=None),
        ),
        saved_cross_encoder,
    ),
    right(
        "bert-shorter-by-a-setting-of-its-tokenizer",
        then(make_bert, reading_plain_texts, with_settings(processing_kwargs={"text": {"max_length": 24}})),
        saved_cross_encoder,
    ),
    right(
        "albert-shorter-by-a-setting-of-its-tokenizer",
        then(
            partial(encoder, model_type="albert", embedding_size=32),
            reading_plain_texts,
            with_settings(processing_kwargs={"text": {"max_length": 24, "padding": True}}),
        ),
        saved_cross_encoder,
    ),
    right("qwen3-reranker-seq-cls", partial(make_qwen3, converted=True), head_after_prompt),
    right("qwen3-reranker-seq-cls-without-template", converted_head, head_after_prompt),
    right(
        "qwen3-reranker-seq-cls-of-a-trained-output-matrix", partial(converted_head, trained=True), head_after_prompt
    ),
    right(
        "qwen3-trained-on-plain-pairs",
        partial(causal, model_type="qwen3", template=None, classifier=True, tie_word_embeddings=True, **BY_VERSION_5),
        saved_cross_encoder,
    ),
    right(
        "qwen3-trained-on-plain-pairs-by-its-card",
        partial(causal, model_type="qwen3", template=None, classifier=True),
        saved_cross_encoder,
        family="cross-encoder",
    ),
    right(
        "qwen3-reranker-seq-cls-saved-by-version-5",
        then(converted_head, lambda folder: rewrite(folder / "config.json", **BY_VERSION_5)),
        head_after_prompt,
    ),
    right(
        "qwen3-reranker-seq-cls-whose-card-says-cross-encoder",
        converted_head,
        head_after_prompt,
        family="cross-encoder",
    ),
    right(
        "llama-classifier",
        partial(causal, model_type="llama", template=None, classifier=True, **BY_VERSION_5),
        saved_cross_encoder,
    ),
    right(
        "llama-classifier-by-its-card",
        partial(causal, model_type="llama", template=None, classifier=True),
        saved_cross_encoder,
        family="cross-encoder",
    ),
    right(
        "rankllama-by-its-card",
        partial(causal, model_type="llama", template=None, classifier=True),
        after_rankllamas_prompt,
        prompt=RANKLLAMA,
    ),
    right(
        "coreb-own-template",
        partial(causal, model_type="qwen3", template=ZERANK.replace("system\n", "system\nAnswer yes or no: ")),
        saved_cross_encoder,
    ),
    right(
        "zerank-2",
        then(partial(causal, model_type="qwen3", template=ZERANK), lambda folder: with_logit_score(folder, 7)),
        asked_by_hand(zerank_prompt, 7),
        IDENTITY,
    ),
    right(
        "zerank-2-as-published",
        then(
            partial(causal, model_type="qwen3", template=ZERANK_ON_DEMAND),
            lambda folder: with_logit_score(folder, 7),
            beginning_answers,
        ),
        asked_by_hand(zerank_prompt, 7),
        IDENTITY,
    ),
    right(
        "zerank-2-converted-with-its-template",
        partial(causal, model_type="qwen3", template=ZERANK, classifier=True),
        saved_cross_encoder,
    ),
    right(
        "ctxl-rerank-v2",
        then(partial(causal, model_type="qwen3", template=CTXL), lambda folder: with_logit_score(folder, 0)),
        asked_by_hand(ctxl_prompt, 0),
        IDENTITY,
    ),
    right(
        "ctxl-rerank-v2-6b-mistral",
        then(partial(causal, model_type="mistral", template=CTXL), lambda folder: with_logit_score(folder, 0)),
        asked_by_hand(ctxl_prompt, 0),
        IDENTITY,
    ),
    right(
        "mxbai-rerank-v2",
        then(partial(causal, model_type="qwen2", template=MXBAI), lambda folder: with_logit_score(folder, 16, 15)),
        asked_by_hand(mxbai_prompt, 16, 15),
        IDENTITY,
    ),
    right(
        "mxbai-rerank-v2-instruction-in-the-card",
        then(partial(causal, model_type="qwen2", template=MXBAI), lambda folder: with_logit_score(folder, 16, 15)),
        asked_by_hand(partial(mxbai_prompt, instruction="find bears"), 16, 15),
        IDENTITY,
        instruction="find bears",
    ),
    right(
        "mxbai-rerank-v2-without-st-files",
        partial(causal, model_type="qwen2", template=MXBAI),
        asked_by_hand(mxbai_prompt, "1", "0"),
        IDENTITY,
    ),
    right(
        "ctxl-rerank-v2-without-st-files",
        partial(causal, model_type="qwen3", template=CTXL),
        asked_by_hand(ctxl_prompt, 0),
        IDENTITY,
    ),
    right(
        "zerank-2-without-st-files-by-its-card",
        then(partial(make_language_model, kind="qwen3"), lambda folder: put_template(folder, CHAT)),
        asked_by_hand(zerank_prompt, "Yes"),
        replace(SIGMOID, scale=5),
        prompt=PROMPTS["zerank-2"],
    ),
    right(
        "ctxl-rerank-v2-chat-template-by-its-card",
        then(partial(make_language_model, kind="qwen3"), lambda folder: put_template(folder, CHAT)),
        asked_by_hand(ctxl_prompt, 0),
        IDENTITY,
        prompt=PROMPTS["ctxl-rerank-v2"],
    ),
    right(
        "bge-reranker-v2-gemma-by-its-card",
        partial(make_language_model, kind="gemma"),
        asked_by_hand(gemma_texts, "Yes"),
        IDENTITY,
        prompt=PROMPTS["bge-reranker-v2-gemma"],
    ),
    right(
        "qwen3-8b-classifier-by-its-card",
        partial(causal, model_type="qwen3", template=None, classifier=True),
        head_after_prompt,
        prompt=QWEN3_RERANKER,
    ),
    right(
        "bge-reranker-v2-gemma-with-template",
        then(partial(causal, model_type="gemma", template=GEMMA), lambda folder: with_logit_score(folder, 9)),
        asked_by_hand(gemma_prompt, 9),
        IDENTITY,
    ),
    right(
        "e5-bge-m3-embeddings",
        then(partial(encoder, model_type="bert", body=True), embeddings),
        saved_embeddings,
        COSINE,
    ),
    right(
        "embeddings-with-prompts",
        then(
            partial(encoder, model_type="modernbert", body=True),
            partial(embeddings, query="what word: ", document="a word: "),
        ),
        saved_embeddings,
        COSINE,
    ),
    right(
        "qwen3-embedding-whose-tokenizer-ends-no-text",
        then(partial(causal, model_type="qwen3", template=None), partial(embeddings, pooling="lasttoken")),
        saved_embeddings,
        COSINE,
    ),
    *(
        right(
            f"qwen3-embedding-{kind}",
            then(
                partial(causal, model_type="qwen3", template=None),
                ending,
                partial(embeddings, pooling="lasttoken", query="Instruct: find bears\nQuery:"),
                partial(said_to_be_causal, prefix=prefix),
            ),
            saved_embeddings,
            COSINE,
        )
        for kind, prefix in (("without-model-in-names", ""), ("with-model-in-names", "model."))
    ),
    right(
        "llama-with-pooling-whatever-its-architecture",
        then(
            partial(causal, model_type="llama", template=None),
            ending,
            embeddings,
            lambda folder: rewrite(folder / "config.json", architectures=["LlamaForCausalLM"]),
            lambda folder: rewrite(folder / "config_sentence_transformers.json", model_type=None),
        ),
        saved_embeddings,
        COSINE,
    ),
    *(
        right(
            f"{kind}-embeddings-shorter-by-a-setting-of-their-tokenizer",
            then(
                partial(encoder, model_type=kind, body=True, **settings),
                embeddings,
                with_settings(processing_kwargs={"text": {"max_length": 12}}),
            ),
            saved_embeddings,
            COSINE,
        )
        for kind, settings in (("bert", EMPTY), ("albert", {"embedding_size": 32}))
    ),
    right("embeddinggemma", embedding_gemma, saved_embeddings, COSINE),
    right(
        "embeddings-compared-by-distance-scored-by-cosine",
        then(
            partial(encoder, model_type="bert", body=True),
            partial(embeddings, normalised=False),
            lambda folder: rewrite(folder / "config_sentence_transformers.json", similarity_fn_name="euclidean"),
        ),
        saved_embeddings,
        COSINE,
    ),
    right(
        "t5-embeddings-with-dense",
        then(
            partial(encoder, model_type="t5", body=True, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4),
            partial(embeddings, dense=1),
        ),
        saved_embeddings,
        COSINE,
    ),
    right(
        "embeddings-with-a-default-prompt",
        then(
            partial(encoder, model_type="bert", body=True),
            partial(embeddings, words="a word: "),
            lambda folder: rewrite(folder / "config_sentence_transformers.json", default_prompt_name="words"),
        ),
        saved_embeddings,
        COSINE,
    ),
    right(
        "language-model-whose-card-says-bi-encoder",
        partial(causal, model_type="qwen3", template=None),
        saved_embeddings,
        COSINE,
        family="bi-encoder",
    ),
    right(
        "contriever-by-its-card",
        partial(encoder, model_type="bert", body=True),
        saved_embeddings,
        COSINE,
        family="bi-encoder",
    ),
    right("colbertv2.0-answerai-colbert-small-v1", make_stanford, stanford_by_hand(), IDENTITY),
    right("gte-moderncolbert-v1", make_pylate, pylate_by_hand(), IDENTITY),
    right("mxbai-edge-colbert-two-layers", partial(make_pylate, wide=True), saved_late, IDENTITY),
    right("colbert-multi-vector-encoder", partial(make_multi_vector, attend=False), saved_late, IDENTITY),
]


ROOM = Truncation(max_tokens_per_document=24)
"""Of a document; layouts have models of every length."""
MIXED = "the giant panda is a bear. 机器学习是人工智能的一个分支。word\r\nword 👩‍👩‍👧😀 e\u0301\u0302 " * 4
OWN_BODIES = (
    "bge-reranker-base",
    "colbert",
    "mxbai-edge",
    "mxbai-rerank-v1",
    "gte-",
    "distilbert",
    "camembert",
    "jina-",
    "ettin-",
    "e5-",
)
"""How rows begin whose models are not left to sentence-transformers."""


class Layout(NamedTuple):
    """A row of the table, loaded."""

    folder: Path
    scorer: Scorer
    reference: Reference
    activation: Activation


@pytest.fixture(scope="module", params=[pytest.param(row.values, id=row.id, marks=row.marks) for row in RIGHT])
def layout(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    make, reference, activation, card = request.param
    folder = tmp_path_factory.mktemp("layout") / "tiny"
    make(folder)
    known = next((model for model in BUILT_IN if model.id == card["id"]), ModelCard(**card))
    return Layout(folder, load(folder, known), reference, activation)


def test_a_layout_scores_as_the_models_own_procedure(layout: Layout, request: pytest.FixtureRequest) -> None:
    scorer = layout.scorer
    logits = score(scorer, scorer.encode([Pair(query, text) for query, text in PAIRS]))

    assert logits == pytest.approx(layout.reference(layout.folder, PAIRS), abs=2e-4)
    assert scorer.activation == layout.activation
    if request.node.callspec.id.startswith(OWN_BODIES):
        assert scorer.runtime == "torch fp32, sdpa attention"


def test_chunks_of_a_layout_are_read_whole_and_leave_nothing_out(layout: Layout) -> None:
    scorer = layout.scorer
    (short, long) = scorer.encode([Pair("panda", "a bear"), Pair("panda", MIXED)], ScoringOptions(ROOM))
    assert short.cut is None
    assert 0 <= long.cut.start < long.cut.end < len(MIXED)

    check_chunks(scorer, Pair("panda", MIXED), Chunking(10_000, overlap=4), ScoringOptions(ROOM))
    check_chunks(scorer, Pair("panda", MIXED), Chunking(10_000, overlap=0), ScoringOptions(ROOM))
    # the model's own length, with query and prompt
    check_chunks(scorer, Pair("panda", MIXED * 30), Chunking(10_000), DEFAULT_OPTIONS)


def check_chunks(scorer: Scorer, pair: Pair, chunking: Chunking, options: ScoringOptions) -> None:
    (spans,) = finish(read_chunks(scorer, [pair], options, chunking))
    assert len(spans) > 2
    assert (spans[0].start, spans[-1].end) == (0, len(pair.document))
    assert all(one.end >= other.start > one.start for one, other in pairwise(spans))
    parts = scorer.encode(chunk_pairs([pair], [spans]), options)
    assert [part.cut for part in parts] == [None] * len(spans)
