"""Layouts that are refused, one row each, with the whole message: never scored in a way that is not their own.

``test_published_layouts`` has those that are scored.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from rerank.catalog.cards import ModelCard
from rerank.catalog.prompts import PROMPTS
from rerank.errors import ModelUnavailable
from tests.parity.late import make_multi_vector, make_pylate, make_stanford
from tests.parity.layouts import (
    BART,
    BY_VERSION_5,
    CHAT,
    DOCUMENT,
    NEMOTRON,
    QUERY,
    ZERANK,
    Make,
    causal,
    chain,
    embeddings,
    encoder,
    listed_modules,
    load,
    put_template,
    reading_plain_texts,
    rewrite,
    then,
    with_logit_score,
    with_settings,
)
from tests.parity.own_layouts import make_new
from tests.parity.t5 import make_t5
from tests.parity.test_published_layouts import converted_head
from tests.support.tiny_checkpoints import make_bert, make_qwen3, make_xlm_roberta
from tests.support.tiny_language_models import make_bidirectional_llama

JINA_BERT = "a/jina-bert-implementation--configuration_bert.JinaBertConfig"
JINA_FLASH = "a/xlm-roberta-flash-implementation--configuration_xlm_roberta.XLMRobertaFlashConfig"
OTHER_RERANKER = (
    "a reranker without code of its own, such as BAAI/bge-reranker-v2-m3 or Alibaba-NLP/gte-reranker-modernbert-base"
)
OTHER_EMBEDDINGS = "an embedding model without code of its own, such as BAAI/bge-m3"
CODE = {"auto_map": {"AutoModelForSequenceClassification": "modeling.OwnModel"}}


def refused(name: str, make: Make, message: str, **card: Any) -> Any:
    """A row that is refused, with its whole message."""
    return pytest.param(make, message, {"id": "tiny"} | card, id=name)


UNKNOWN_TYPE = (
    f"tiny is of the type brand-new, which transformers {transformers.__version__} does not know. Use a reranker of "
    "another type, such as BAAI/bge-reranker-v2-m3."
)


def lines(*names: str) -> str:
    listed = ", ".join(f'"{name}"' for name in names)
    return f"`prompt`, by name if it was trained on that of a published reranker ({listed}), else as a table of its own"


OTHER = "`prompt`, as a table of the one that it was trained on"
QWEN3 = lines("qwen3-reranker", "zerank-2", "zerank-1", "ctxl-rerank-v2")


def no_reranker(architecture: str, lines: str, vector: str = "the vector of its last token") -> str:
    return (
        f"tiny is a language model ({architecture}), and nothing in it says that it reranks: no modules of "
        "sentence-transformers, and no template that asks about a query and a document. If it is a reranker that "
        "answers yes or no with a word, and not with a grade or an order of documents, its card in models.toml has to "
        f'say how it is asked: {lines}. If it is an embedding model, `family = "bi-encoder"` there takes {vector}.'
    )


def no_head(architecture: str) -> str:
    return (
        f"tiny names the architecture {architecture} in its config.json, which has no head that scores pairs, and no "
        "modules of sentence-transformers: it is not a reranker. If it is an embedding model, "
        '`family = "bi-encoder"` in its card in models.toml takes the mean of its tokens; one that was trained with '
        "another vector, such as that of its last token, has to be saved with sentence-transformers and that pooling."
    )


def unknown_head(named: str) -> str:
    return (
        f"tiny names the architecture {named} in its config.json, which is neither a body alone nor one with a head "
        "that scores pairs (ForSequenceClassification), and no modules of sentence-transformers: nothing says how it "
        "scores. Use another model, such as the reranker BAAI/bge-reranker-v2-m3."
    )


def written_for_version_4(code: str, other: str) -> str:
    return (
        f"needs Python code of its own ({code}), which was written for version 4 of transformers and does not run with "
        f"version 5. Use {other}."
    )


def no_words(architecture: str, lines: str) -> str:
    return (
        f"tiny is a language model ({architecture}), and nothing in it says which words' logits are the score: neither "
        "1_LogitScore nor a template that asks for yes or no. Its card in models.toml has to say how it is asked: "
        f"{lines}."
    )


def classifies(labels: str, against: int, for_it: int) -> str:
    return (
        f"its head gives {labels} per pair, so it classifies pairs, as models for entailment do; a reranker gives "
        "one number, the relevance. Its card in models.toml can name the label that counts against a document and the "
        f"one that counts for it: `labels = [{against}, {for_it}]`."
    )


def converted(*names: str) -> str:
    return (
        " If it was converted from a reranker that answers with words, the card also has to say how that one is asked: "
        f"{lines(*names)}."
    )


NLI = {"0": "ENTAILMENT", "1": "neutral", "2": "contradiction"}


def saying(**config: Any) -> Make:
    """A whole folder whose config.json says this."""
    return then(make_bert, lambda folder: rewrite(folder / "config.json", **config))


def named(folder: Path, **config: Any) -> None:
    """Have the folder's config.json say this."""
    rewrite(folder / "config.json", **config)


def without_prompts(folder: Path) -> None:
    """Have the pooling leave prompts out."""
    rewrite(folder / "1_Pooling" / "config.json", include_prompt=False)


def either(kind: str, asked: str) -> str:
    return (
        f"tiny is a language model ({kind}) with a classification head, and nothing in it says whether it reads plain "
        'pairs or a prompt. Its card in models.toml has to say `family = "cross-encoder"` if it reads plain pairs, '
        f"else how it is asked: {asked}."
    )


def with_dense_behind(folder: Path) -> None:
    """Modules of an embedding model, of which the last is a Dense."""
    file = folder / "modules.json"
    listed = json.loads(file.read_text())
    listed[-1] |= {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    file.write_text(json.dumps(listed))
    rewrite(folder / "2_Dense" / "config.json", in_features=32, out_features=32)


def trained_on(folder: Path) -> None:
    """A converted classifier that version 5 of sentence-transformers trained, and saved as it saves all."""
    converted_head(folder)
    weights = load_file(folder / "model.safetensors")
    head = weights["score.weight"]
    weights["score.weight"] = head + 0.3 * head.std() * torch.randn(
        head.shape, generator=torch.Generator().manual_seed(1)
    )
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    rewrite(folder / "config.json", **BY_VERSION_5)


def late(why: str) -> str:
    return (
        f"tiny is a late-interaction model (ColBERT), and it {why}, which this server does not support for such "
        "models. Use another late-interaction model, such as lightonai/GTE-ModernColBERT-v1, or a reranker that "
        "scores each pair alone, such as BAAI/bge-reranker-v2-m3."
    )


def jina_colbert(folder: Path) -> None:
    make_stanford(folder)
    rewrite(folder / "config.json", auto_map={"AutoModel": "modeling.XLMRobertaModel"})
    (folder / "modeling.py").touch()


def with_weights_in(name: str) -> Make:
    def make(folder: Path) -> None:
        make_bert(folder)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / "model.safetensors").rename(folder / name)

    return make


def with_products_in(dtype: str) -> Make:
    """A folder whose products are rounded, with scales next to them, of which only the weights' header tells."""

    def make(folder: Path) -> None:
        make_bert(folder)
        weights = load_file(folder / "model.safetensors")
        for name in [name for name in weights if name.endswith("dense.weight") and ".layer." in name]:
            scale = weights[name].abs().max() / 100
            weights[name], weights[f"{name}_scale"] = (weights[name] / scale).to(getattr(torch, dtype)), scale
        save_file(weights, folder / "model.safetensors", {"format": "pt"})

    return make


def modules_at(folder: Path, *kinds: str) -> None:
    listed = [{"type": f"sentence_transformers.models.{kind}", "path": ""} for kind in kinds]
    (folder / "modules.json").write_text(json.dumps(listed))


def with_modules(*kinds: str, configuration: bool = True, **config: Any) -> Make:
    def make(folder: Path) -> None:
        saying(**config)(folder)
        modules_at(folder, *kinds)
        if not configuration:
            (folder / "config.json").unlink()

    return make


def phobert(folder: Path) -> None:
    make_xlm_roberta(folder)
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").touch()
    rewrite(folder / "tokenizer_config.json", tokenizer_class="PhobertTokenizer")


def in_0_transformer(folder: Path) -> None:
    make_bert(folder / "0_Transformer")
    modules_at(folder, "Transformer", "Pooling")


def with_adapter(folder: Path) -> None:
    make_bert(folder)
    name = "bert.encoder.layer.0.attention.self.query"
    weights = load_file(folder / "model.safetensors")
    weights |= {f"{name}.lora_{half}.default.weight": torch.ones(4, 4) for half in "AB"}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


ASKED = (
    "tiny is a LlamaBidirectionalForSequenceClassification, which reads a prompt that its files do not show. Its card "
    f"in models.toml has to say how it is asked: {lines('llama-nemotron-rerank')}."
)
WORDED = (
    "tiny is a MiniCPMForSequenceClassification, which reads an instruction or `Query:` before the query, as its files "
    "do not show and this server does not add. Use a reranker that reads plain pairs, such as BAAI/bge-reranker-v2-m3."
)
MERGE = "merge it into its base model (merge_and_unload() of peft), save that, and use the saved folder."
AMONG = (
    "tiny holds a LoRA adapter among its weights (bert.encoder.layer.0.attention.self.query.lora_A.default.weight), "
    f"which would be left out: {MERGE}"
)
STATIC = (
    "tiny is a static embedding model (StaticEmbedding, model2vec): a vector for each token, and no network of "
    "transformers, which this server needs. Use another embedding model, such as "
    "sentence-transformers/all-MiniLM-L6-v2."
)
ROUTED = (
    "tiny sends queries and documents to different models (Router of sentence-transformers), which this server does "
    "not support. Use another embedding model, such as sentence-transformers/all-MiniLM-L6-v2."
)
OTHER_WEIGHTS = (
    "tiny holds weights for TensorFlow or Flax, which are not loaded. Save it as safetensors with version 4 of "
    "transformers: from_pretrained(..., from_tf=True) or from_flax=True, then save_pretrained(...)."
)


LEFT_OUT = (
    "its pooling leaves the prompt out of the vector (include_prompt in the settings of its Pooling), which is not "
    "supported. Use another embedding model, such as BAAI/bge-m3."
)
BARE = {"processing_kwargs": {"text": {"add_special_tokens": False}}}
EMBEDDINGS = then(partial(encoder, model_type="albert", body=True, embedding_size=32), embeddings)
NOTHING: dict[str, Any] = {}


def positions(kind: str) -> str:
    return (
        f"tiny asks for positions of the kind {kind} (position_embedding_type in its config.json), which version 5 of "
        "transformers no longer computes. Use a reranker with absolute positions, such as BAAI/bge-reranker-v2-m3."
    )


REFUSED = [
    refused("tensorflow-only", with_weights_in("tf_model.h5"), OTHER_WEIGHTS),
    refused("flax-only", with_weights_in("flax_model.msgpack"), OTHER_WEIGHTS),
    refused("model2vec", with_modules(model_type="model2vec", architectures=["StaticModel"]), STATIC),
    refused("static-embedding", with_modules("StaticEmbedding"), STATIC),
    refused("static-embedding-without-configuration", with_modules("StaticEmbedding", configuration=False), STATIC),
    refused("mdbr-leaf-ir-asym", with_modules("Router", "Normalize", configuration=False), ROUTED),
    refused("router-next-to-the-configuration-of-one-side", with_modules("Router", "Normalize"), ROUTED),
    refused("asym", with_modules("Asym", configuration=False), ROUTED),
    refused(
        "sentence-transformers-0",
        in_0_transformer,
        "tiny has its model in the folder 0_Transformer, as early versions of sentence-transformers saved it. Load it "
        "with sentence-transformers and save it again with save_pretrained(...), which puts it next to modules.json.",
    ),
    refused(
        "merged-with-a-leftover-of-the-adapter",
        then(make_bert, lambda folder: rewrite(folder / "adapter_config.json", peft_type="LORA")),
        "tiny holds adapter_config.json next to whole weights, and nothing says whether they have the LoRA adapter in "
        f"them. If they do, remove adapter_config.json; else {MERGE}",
    ),
    refused(
        "adapter-among-the-weights",
        with_adapter,
        AMONG,
    ),
    refused(
        "adapter-among-the-weights-for-code-that-a-prompt-keeps-from-running",
        then(with_adapter, lambda folder: rewrite(folder / "config.json", **CODE)),
        AMONG,
        prompt=PROMPTS["mxbai-rerank-v2"],
        trust_remote_code=True,
    ),
    *(
        refused(
            f"{kind}-with-relative-positions",
            saying(model_type=kind, position_embedding_type="relative_key"),
            positions("relative_key"),
        )
        for kind in ("bert", "electra", "roberta", "xlm-roberta", "camembert", "albert")
    ),
    refused(
        "embeddings-with-relative-positions-whatever-the-card-says",
        saying(position_embedding_type="relative_key_query"),
        positions("relative_key_query"),
        family="bi-encoder",
    ),
    refused(
        "listconranker-listwise",
        saying(architectures=["ListConRankerModel"], model_type="ListConRanker", **CODE),
        "tiny is a listwise reranker (ListConRankerModel): the score of a document depends on the other documents of "
        "its request, which this server does not support. Use a reranker that scores each pair alone, such as "
        "BAAI/bge-reranker-v2-m3.",
    ),
    refused(
        "bce-reranker-pickled",
        with_weights_in("pytorch_model.bin"),
        "tiny has no safetensors, and pickled weights are not loaded. Many repositories have a "
        "safetensors version as a pull request of the Hub's own bot: look for it under Community on "
        "the model's page, and name it in the card in models.toml by its number, as in "
        '`revision = "refs/pr/1"`. `rerank pull --convert` converts the pickles instead.',
    ),
    refused(
        "gguf-only",
        with_weights_in("model-Q8_0.gguf"),
        "tiny holds weights for llama.cpp (GGUF), which are not supported. Use the safetensors "
        "repository that they were made from.",
    ),
    refused(
        "gguf-in-a-folder-of-its-own",
        with_weights_in("gguf/model-Q8_0.gguf"),
        "tiny holds weights for llama.cpp (GGUF), which are not supported. Use the safetensors "
        "repository that they were made from.",
    ),
    refused(
        "openvino-only",
        with_weights_in("openvino/openvino_model.bin"),
        "tiny holds weights for OpenVINO, which are not supported. Use the safetensors repository that "
        "they were made from.",
    ),
    refused(
        "xenova-flashrank-onnx-only",
        with_weights_in("model.onnx"),
        "tiny holds weights for ONNX, which are not supported. Use the safetensors repository that "
        "they were made from.",
    ),
    refused(
        "rankllama-adapter",
        then(make_bert, lambda folder: (folder / "config.json").rename(folder / "adapter_config.json")),
        "tiny holds a LoRA adapter and no model: merge it into its base model (merge_and_unload() of "
        "peft), save that, and use the saved folder. If it was trained with words before query and document, as "
        "RankLLaMA was (query: and document:), its card in models.toml has to say them in a `prompt` of its own.",
    ),
    refused(
        "lean-chain-chat-template",
        then(partial(causal, model_type="qwen3", template=CHAT), partial(chain, pooling="lasttoken")),
        "tiny has a chat template without a place for a query and a document. Remove the template "
        "from the folder if the model was trained on plain pairs; else say in its card in models.toml "
        f"how it is asked: {QWEN3}.",
    ),
    refused(
        "qwen3-chat-model",
        partial(causal, model_type="qwen3", template=CHAT),
        no_reranker("Qwen3ForCausalLM", QWEN3),
    ),
    refused(
        "base-language-model",
        partial(causal, model_type="llama", template=None),
        no_reranker("LlamaForCausalLM", OTHER),
    ),
    refused(
        "chat-model-whose-card-says-cross-encoder",
        partial(causal, model_type="qwen3", template=CHAT),
        no_words("Qwen3ForCausalLM", QWEN3),
        family="cross-encoder",
    ),
    refused(
        "qwen3-classifier-with-chat-template",
        partial(causal, model_type="qwen3", template=CHAT, classifier=True, tie_word_embeddings=True),
        either("qwen3", QWEN3),
    ),
    refused(
        "qwen3-classifier-with-chat-template-whose-card-says-cross-encoder",
        partial(causal, model_type="qwen3", template=CHAT, classifier=True),
        "tiny has a chat template without a place for a query and a document. Remove the template "
        "from the folder if the model was trained on plain pairs; else say in its card in models.toml "
        f"how it is asked: {QWEN3}.",
        family="cross-encoder",
    ),
    refused(
        "qwen3-8b-classifier-without-template",
        partial(causal, model_type="qwen3", template=None, classifier=True),
        either("qwen3", QWEN3),
    ),
    refused(
        "qwen3-8b-classifier-saved-by-version-5",
        partial(causal, model_type="qwen3", template=None, classifier=True, **BY_VERSION_5),
        either("qwen3", QWEN3),
    ),
    refused(
        "qwen3-classifier-like-no-conversion",
        partial(causal, model_type="qwen3", template=None, classifier=True, tie_word_embeddings=True),
        either("qwen3", QWEN3),
    ),
    refused("conversion-of-qwen3-reranker-trained-with-version-5", trained_on, either("qwen3", QWEN3)),
    refused(
        "mxbai-v2-seq-untied",
        partial(causal, model_type="qwen2", template=None, classifier=True),
        either("qwen2", lines("mxbai-rerank-v2")),
    ),
    refused(
        "rankllama-merged", partial(causal, model_type="llama", template=None, classifier=True), either("llama", OTHER)
    ),
    refused(
        "phi-classifier",
        partial(causal, model_type="phi", template=None, classifier=True),
        either("phi", "").removesuffix(", else how it is asked: .") + "; a prompt is not supported for its type.",
    ),
    refused(
        "unknown-template-without-words",
        partial(causal, model_type="qwen3", template=f"Is this it? {DOCUMENT} {QUERY}"),
        no_words("Qwen3ForCausalLM", QWEN3),
    ),
    refused(
        "llama-nemotron-rerank-without-its-prompt-trusted", make_bidirectional_llama, ASKED, trust_remote_code=True
    ),
    refused("llama-nemotron-rerank-without-its-prompt", make_bidirectional_llama, ASKED),
    refused("llama-nemotron-rerank-stated", make_bidirectional_llama, ASKED, family="cross-encoder"),
    refused(
        "llama-nemotron-rerank-whose-template-only-its-own-code-reads",
        then(make_bidirectional_llama, lambda folder: put_template(folder, NEMOTRON)),
        ASKED,
    ),
    refused(
        "minicpm-reranker",
        saying(architectures=["MiniCPMForSequenceClassification"], model_type="minicpm", **CODE),
        WORDED,
    ),
    refused(
        "minicpm-reranker-stated-and-trusted",
        saying(architectures=["MiniCPMForSequenceClassification"], model_type="minicpm", **CODE),
        WORDED,
        family="cross-encoder",
        trust_remote_code=True,
    ),
    refused(
        "kalm-reranker-v1",
        saying(architectures=["T5Gemma2ForConditionalGeneration"], model_type="t5gemma2"),
        "tiny is a sequence-to-sequence model (T5Gemma2ForConditionalGeneration), which this server runs only as "
        "monoT5, and this one is no T5. Use a reranker that scores each pair alone, such as BAAI/bge-reranker-v2-m3.",
    ),
    refused(
        "zerank-2-without-st-files",
        partial(causal, model_type="qwen3", template=CHAT),
        no_reranker("Qwen3ForCausalLM", QWEN3),
    ),
    refused(
        "zerank-1-own-code",
        then(
            partial(causal, model_type="qwen3", template=CHAT), lambda folder: rewrite(folder / "config.json", **CODE)
        ),
        no_reranker("Qwen3ForCausalLM", QWEN3),
        trust_remote_code=True,
    ),
    refused(
        "mxbai-v2-seq-two-labels",
        partial(causal, model_type="qwen2", template=None, classifier=True, num_labels=2),
        classifies("2 labels", 0, 1) + converted("mxbai-rerank-v2"),
    ),
    refused(
        "qwen3-reranker-seq-two-labels",
        partial(causal, model_type="qwen3", template=None, classifier=True, num_labels=2, tie_word_embeddings=True),
        classifies("2 labels", 0, 1) + converted("qwen3-reranker", "zerank-2", "zerank-1", "ctxl-rerank-v2"),
    ),
    refused(
        "bge-reranker-v2-gemma",
        partial(causal, model_type="gemma", template=None),
        no_reranker("GemmaForCausalLM", lines("bge-reranker-v2-gemma")),
    ),
    refused(
        "lb-reranker-of-grades",
        partial(causal, model_type="qwen2", template=CHAT),
        no_reranker("Qwen2ForCausalLM", lines("mxbai-rerank-v2")),
    ),
    refused(
        "rankzephyr-listwise",
        partial(causal, model_type="mistral", template=CHAT),
        no_reranker("MistralForCausalLM", lines("ctxl-rerank-v2")),
    ),
    refused(
        "bge-reranker-v2.5-gemma2-lightweight",
        saying(architectures=["CostWiseGemmaForCausalLM"], model_type="cost_wise_gemma", **CODE),
        "tiny has a head for each of its layers (CostWiseGemmaForCausalLM), which only code of its own reads. Use a "
        "reranker without code of its own, such as BAAI/bge-reranker-v2-m3.",
    ),
    refused(
        "bge-reranker-v2-minicpm-layerwise",
        saying(architectures=["LayerWiseMiniCPMForCausalLM"], **CODE),
        "tiny has a head for each of its layers (LayerWiseMiniCPMForCausalLM), which only code of its "
        "own reads. Use a reranker without code of its own, such as BAAI/bge-reranker-v2-m3.",
    ),
    refused(
        "llama-nemotron-rerank-vl-nemotron-3.5-rerank",
        saying(architectures=["LlamaNemotronVLForSequenceClassification"], vision_config={}),
        "tiny is a multimodal model (LlamaNemotronVLForSequenceClassification): it reads images, and "
        "this server scores texts. Use a reranker for texts, such as Qwen/Qwen3-Reranker-0.6B.",
    ),
    refused(
        "gte-with-another-attention",
        saying(
            architectures=["NewForSequenceClassification"],
            auto_map={"AutoConfig": "a/new-impl--configuration.NewConfig"},
            model_type="new",
            logn_attention_scale=True,
        ),
        "tiny cannot be used: it needs Python code of its own (a/new-impl--configuration.NewConfig), "
        "which was written for version 4 of transformers and does not run with version 5. Use a "
        "reranker without code of its own, such as BAAI/bge-reranker-v2-m3 or "
        "Alibaba-NLP/gte-reranker-modernbert-base.",
    ),
    *(
        refused(
            f"jina-reranker-v1-own-code{'-trusted' * trusted}",
            saying(architectures=["JinaBertForSequenceClassification"], auto_map={"AutoConfig": JINA_BERT}),
            f"tiny cannot be used: it {written_for_version_4(JINA_BERT, OTHER_RERANKER)}",
            trust_remote_code=trusted,
        )
        for trusted in (False, True)
    ),
    *(
        refused(
            f"{name}{'-trusted' * trusted}",
            then(EMBEDDINGS, partial(named, architectures=[architecture], auto_map={"AutoConfig": code})),
            f"tiny cannot be used: it {written_for_version_4(code, OTHER_EMBEDDINGS)}",
            trust_remote_code=trusted,
        )
        for trusted in (False, True)
        for name, architecture, code in (
            ("jina-embeddings-v2", "JinaBertForMaskedLM", JINA_BERT),
            ("jina-embeddings-v3", "XLMRobertaModel", JINA_FLASH),
        )
    ),
    refused(
        "jina-embeddings-v3-without-modules-trusted",
        saying(architectures=["XLMRobertaModel"], model_type="xlm-roberta", auto_map={"AutoConfig": JINA_FLASH}),
        f"tiny {written_for_version_4(JINA_FLASH, OTHER_EMBEDDINGS)}",
        trust_remote_code=True,
    ),
    *(
        refused(
            f"provence-reranker{'-trusted' * trusted}",
            saying(
                architectures=["Provence"],
                model_type="Provence",
                auto_map={"AutoConfig": "modeling.ProvenceConfig", "AutoModel": "modeling.Provence"},
            ),
            "tiny is a Provence, which Python code of its own computes (auto_map in its config.json), and nothing says "
            "how that scores pairs. Use a reranker without code of its own, such as BAAI/bge-reranker-v2-m3. If it is "
            'an embedding model, `family = "bi-encoder"` and `trust_remote_code = true` in its card in models.toml '
            "take the mean of its tokens. Read the code first.",
            trust_remote_code=trusted,
        )
        for trusted in (False, True)
    ),
    refused(
        "own-code-that-may-be-a-classifier",
        saying(architectures=["OwnModel"], model_type="own", **CODE),
        "tiny is a OwnModel, which Python code of its own computes (auto_map in its config.json), and nothing else "
        "says what it is. If it gives one score for a pair, its card in models.toml has to say "
        '`family = "cross-encoder"` and `trust_remote_code = true`. Read the code first.',
    ),
    *(
        refused(f"lightning-ir-{kind}", saying(architectures=[name], model_type=kind), unknown_head(told))
        for kind, name, told in (
            ("mono", "MonoElectraModel", "MonoElectraModel and the type mono"),
            ("set-encoder", "SetEncoderElectraModel", "SetEncoderElectraModel and the type set-encoder"),
            ("col", "ColElectraModel", "ColElectraModel and the type col"),
        )
    ),
    refused(
        "bert-for-next-sentences",
        saying(architectures=["BertForNextSentencePrediction"]),
        unknown_head("BertForNextSentencePrediction and the type bert"),
    ),
    refused(
        "monobert-without-its-tokenizer",
        then(make_bert, lambda folder: (folder / "tokenizer.json").unlink()),
        "tiny/tokenizer.json is missing. If the model was published without it, copy tokenizer.json and "
        "tokenizer_config.json from the model that it was trained from, which its page names",
    ),
    refused(
        "gte-multilingual-without-tokenizer-json",
        then(make_new, lambda folder: (folder / "tokenizer.json").rename(folder / "vocab.txt")),
        "tiny is computed here without its own code, and only as its publisher laid it out: with a tokenizer.json, and "
        "read by its first token or by the mean of its tokens, with no Dense module behind that. Fetch the published "
        "files again, or use another model.",
        trust_remote_code=True,
    ),
    refused(
        "stella-en-400m-with-dense",
        then(partial(make_new, head=False), lambda folder: listed_modules(folder, "cls"), with_dense_behind),
        "tiny is computed here without its own code, and only as its publisher laid it out: with a tokenizer.json, and "
        "read by its first token or by the mean of its tokens, with no Dense module behind that. Fetch the published "
        "files again, or use another model.",
    ),
    refused(
        "jina-reranker-v3-v3.5-listwise",
        saying(architectures=["JinaForRanking"], **CODE),
        "tiny is a listwise reranker (JinaForRanking): the score of a document depends on the other "
        "documents of its request, which this server does not support. Use a reranker that scores "
        "each pair alone, such as BAAI/bge-reranker-v2-m3.",
    ),
    refused(
        "jina-reranker-m0",
        saying(architectures=["JinaVLForRanking"], vision_config={}, **CODE),
        "tiny is a multimodal model (JinaVLForRanking): it reads images, and this server scores "
        "texts. Use a reranker for texts, such as Qwen/Qwen3-Reranker-0.6B.",
    ),
    refused(
        "qwen3-vl-reranker",
        saying(architectures=["Qwen3VLForConditionalGeneration"], vision_config={}),
        "tiny is a multimodal model (Qwen3VLForConditionalGeneration): it reads images, and this "
        "server scores texts. Use a reranker for texts, such as Qwen/Qwen3-Reranker-0.6B.",
    ),
    refused(
        "nli-three-labels",
        then(
            partial(make_xlm_roberta, labels=3),
            lambda folder: rewrite(folder / "config.json", id2label=NLI, label2id=None),
        ),
        classifies("3 labels (0 is ENTAILMENT, 1 is neutral, 2 is contradiction)", 2, 0),
    ),
    refused(
        "nli-three-labels-in-the-fallback",
        partial(encoder, model_type="albert", embedding_size=32, num_labels=3),
        classifies("3 labels", 0, 1),
    ),
    refused(
        "labels-that-the-head-does-not-have",
        partial(make_xlm_roberta, labels=2),
        "its card in models.toml names the labels 0 and 2, but its head gives 2 labels.",
        labels=(0, 2),
    ),
    refused(
        "labels-of-a-head-of-one-label",
        make_bert,
        "its card in models.toml names the labels 0 and 1, but its head gives 1 label.",
        labels=(0, 1),
    ),
    refused(
        "labels-of-an-embedding-model",
        then(partial(encoder, model_type="bert", body=True), embeddings),
        "its card in models.toml names `labels`, which are those of a head that classifies pairs, and this model "
        "(BertModel) has none.",
        labels=(0, 1),
    ),
    refused(
        "embeddings-with-prompts-for-kinds-of-queries",
        then(
            partial(encoder, model_type="bert", body=True),
            partial(embeddings, nl2code_query="find: ", Query="as: ", clustering="in: "),
        ),
        "it is not known which of its prompts (Query, nl2code_query) stands before a query that is ranked. Say so in "
        'models.toml: prompts = { query = "..." }, "" for none.',
        instruction="Find what is alike.",
    ),
    refused(
        "embeddings-with-prompts-for-what-is-searched",
        then(
            partial(encoder, model_type="bert", body=True),
            partial(embeddings, question="Q: ", search="S: ", search_document="D: ", clustering="in: "),
        ),
        "it is not known which of its prompts (question, search) stands before a query that is ranked. Say so in "
        'models.toml: prompts = { query = "..." }, "" for none.',
    ),
    refused(
        "embeddings-with-prompts-for-tasks-in-the-fallback",
        then(
            partial(encoder, model_type="bert", body=True),
            partial(embeddings, dense=1, sts_query="Instruct: find bears\nQuery: "),
        ),
        "it is not known which of its prompts (sts_query) stands before a query that is ranked. Say so in models.toml: "
        'prompts = { query = "..." }, "" for none.',
    ),
    refused(
        "embeddings-with-prompts-for-kinds-of-documents",
        then(
            partial(encoder, model_type="bert", body=True),
            partial(embeddings, query="find: ", code2code_document="in: ", nl2code_document="in: "),
        ),
        "it is not known which of its prompts (code2code_document, nl2code_document) stands before a document that is "
        'ranked. Say so in models.toml: prompts = { document = "..." }, "" for none.',
    ),
    refused(
        "t5-without-a-prompt",
        make_t5,
        "tiny is a sequence-to-sequence model (T5ForConditionalGeneration), and nothing in it says that it reranks. If "
        "it does so as monoT5 does, by the first word of its answer, its card in models.toml has to say how it is "
        'asked: by its page, `prompt = "monot5"` (true or false), `prompt = "mt5-mmarco"` (yes or no), '
        '`prompt = "mt5-true"` (true, or "▁" for no), `prompt = "ptt5-msmarco"` (sim or não), `prompt = "monoptt5"` '
        "(Sim or Não, asked in Portuguese) or a `prompt` of its own.",
    ),
    refused(
        "bart",
        saying(architectures=["BartForConditionalGeneration"]),
        "tiny is a sequence-to-sequence model (BartForConditionalGeneration), which this server runs only as monoT5, "
        "and this one is no T5. Use a reranker that scores each pair alone, such as BAAI/bge-reranker-v2-m3.",
    ),
    refused(
        "colbert-stanford-without-metadata",
        saying(architectures=["HF_ColBERT"]),
        late("has neither modules of sentence-transformers nor artifact.metadata"),
    ),
    refused("colbert-stanford-of-distances", partial(make_stanford, similarity="l2"), late("compares tokens by l2")),
    refused(
        "colbert-stanford-of-deberta",
        then(make_stanford, lambda folder: rewrite(folder / "config.json", model_type="deberta-v2")),
        late("has a body of the type deberta-v2"),
    ),
    refused(
        "colbert-stanford-without-its-marker",
        partial(make_stanford, query_token_id="[query]"),
        late("marks texts with [query], not a token of its tokenizer"),
    ),
    refused("jina-colbert-v2-own-code", jina_colbert, late("has code of its own"), trust_remote_code=True),
    refused(
        "colbert-pylate-with-a-new-setting",
        partial(make_pylate, pool_factor=2),
        late("has the setting pool_factor"),
    ),
    refused(
        "colbert-pylate-with-prompts",
        partial(make_pylate, prompts={"query": "search: "}),
        late("has prompts next to its prefixes"),
    ),
    refused(
        "colbert-pylate-with-a-function",
        then(
            make_pylate,
            lambda folder: rewrite(
                folder / "1_Dense" / "config.json", activation_function="torch.nn.modules.activation.Tanh"
            ),
        ),
        late("has the function torch.nn.modules.activation.Tanh behind a projection"),
    ),
    refused(
        "colbert-pylate-expanding-beyond-a-window",
        partial(make_pylate, query_length=14),
        late("expands queries beyond its window of attention"),
    ),
    refused(
        "colbert-multi-vector-encoder-of-means",
        then(
            make_multi_vector,
            lambda folder: rewrite(folder / "config_sentence_transformers.json", similarity_fn_name="meanmaxsim"),
        ),
        late("compares by meanmaxsim"),
    ),
    refused(
        "colbert-multi-vector-encoder-of-images",
        then(
            make_multi_vector,
            lambda folder: rewrite(folder / "2_MultiVectorMask" / "config.json", keep_only_token_ids=[4]),
        ),
        late("leaves out tokens other than some of its documents'"),
    ),
    refused(
        "phoranker",
        phobert,
        "tiny has a tokenizer in Python (PhobertTokenizer), which wants Vietnamese texts whose words are joined "
        "beforehand, and this server joins none. Use a reranker that reads texts as they are, such as "
        "BAAI/bge-reranker-v2-m3.",
    ),
    refused(
        "embedding-model-whose-configuration-names-a-lost-head",
        then(
            partial(encoder, model_type="bert", body=True),
            embeddings,
            lambda folder: rewrite(folder / "config.json", architectures=["BertForSequenceClassification"]),
            lambda folder: rewrite(folder / "config_sentence_transformers.json", model_type=None),
        ),
        "tiny names the architecture BertForSequenceClassification in its config.json, and its weights have no such "
        "head; its modules are those of an embedding model. If it is one, its card in models.toml has to say "
        '`family = "bi-encoder"`.',
    ),
    *(
        refused(
            f"qwen3-reranker-with-overrides-of-vllm{name}",
            then(
                make_qwen3,
                lambda folder: rewrite(
                    folder / "config.json",
                    architectures=["Qwen3ForSequenceClassification"],
                    classifier_from_token=["no", "yes"],
                    is_original_qwen3_reranker=True,
                ),
            ),
            "tiny has a setting of vLLM in its config.json (classifier_from_token), which makes a classifier of a "
            'language model, and its weights have no head. Write `"architectures": ["Qwen3ForCausalLM"]` there, as its '
            "publisher does.",
            **card,
        )
        for name, card in {"": {}, "-and-a-prompt": {"prompt": PROMPTS["qwen3-reranker"]}}.items()
    ),
    refused(
        "clip",
        with_modules("CLIPModel", configuration=False),
        "tiny is a model of texts and images (CLIP), and this server compares texts by models of transformers for "
        "texts. Use another embedding model, such as sentence-transformers/all-MiniLM-L6-v2.",
    ),
    refused(
        "configuration-without-an-architecture",
        saying(architectures=None),
        "tiny/config.json names no architecture, so nothing says what it is. Write there what its publisher does, such "
        'as `"architectures": ["XLMRobertaForSequenceClassification"]` for a reranker or `["BertModel"]` for an '
        "embedding model.",
    ),
    refused(
        "splade",
        saying(architectures=["BertForMaskedLM"]),
        "tiny is a masked language model (BertForMaskedLM): a base model, or a sparse encoder such as "
        "SPLADE. Neither gives a score of a pair. Use a reranker that scores each pair alone, such as "
        "BAAI/bge-reranker-v2-m3.",
    ),
    refused(
        "splade-sparse-encoder",
        then(
            make_bert, lambda folder: rewrite(folder / "config_sentence_transformers.json", model_type="SparseEncoder")
        ),
        "tiny is a sparse encoder (SPLADE): it makes vectors for an inverted index, and gives no "
        "score of a pair. Use a reranker that scores each pair alone, such as "
        "BAAI/bge-reranker-v2-m3.",
    ),
    refused(
        "type-that-transformers-does-not-know",
        saying(model_type="brand-new", architectures=["BrandNewForSequenceClassification"]),
        UNKNOWN_TYPE,
    ),
    refused(
        "embedding-model-of-a-type-that-transformers-does-not-know",
        then(
            partial(encoder, model_type="bert", body=True),
            embeddings,
            lambda folder: rewrite(folder / "config.json", model_type="brand-new"),
        ),
        UNKNOWN_TYPE,
    ),
    refused(
        "activation-tanh",
        partial(make_bert, activation="torch.nn.modules.activation.Tanh"),
        "the checkpoint asks for the activation Tanh; Sigmoid and Identity are supported. "
        "`activation` in its card in models.toml chooses one of them.",
    ),
    refused(
        "qwen3-reranker-fp8",
        saying(quantization_config={"quant_method": "fp8"}),
        "tiny is quantised (FP8), and such weights are not supported. Use the model that it was made "
        'from; `precision = "int8"` in its card halves the time on a CPU.',
    ),
    refused(
        "qwen3-reranker-awq",
        saying(quantization_config={"quant_method": "awq"}),
        "tiny is quantised (AWQ), and such weights are not supported. Use the model that it was made "
        'from; `precision = "int8"` in its card halves the time on a CPU.',
    ),
    refused(
        "qwen3-reranker-mlx",
        saying(quantization={"bits": 4}, quantization_config={"bits": 4}),
        "tiny is quantised (MLX), and such weights are not supported. Use the model that it was made "
        'from; `precision = "int8"` in its card halves the time on a CPU.',
    ),
    refused(
        "qwen3-reranker-compressed-tensors",
        saying(compression_config={"quant_method": "compressed-tensors"}),
        "tiny is quantised (compressed-tensors), and such weights are not supported. Use the model that it was made "
        'from; `precision = "int8"` in its card halves the time on a CPU.',
    ),
    refused(
        "reranker-in-int8-that-its-config-does-not-name",
        with_products_in("int8"),
        "tiny is quantised (bert.encoder.layer.0.attention.output.dense.weight is I8), and such weights are not "
        'supported. Use the model that it was made from; `precision = "int8"` in its card halves the time on a CPU.',
    ),
    refused(
        "qwen3-reranker-fp8-of-modelopt",
        with_products_in("float8_e4m3fn"),
        "tiny is quantised (bert.encoder.layer.0.attention.output.dense.weight is F8_E4M3), and such weights are not "
        'supported. Use the model that it was made from; `precision = "int8"` in its card halves the time on a CPU.',
        family="cross-encoder",
    ),
    refused("contriever-without-a-card", partial(encoder, model_type="bert", body=True), no_head("BertModel")),
    refused(
        "body-of-a-language-model-without-a-card",
        then(partial(causal, model_type="llama", template=None), partial(named, architectures=["LlamaModel"])),
        no_head("LlamaModel"),
    ),
    refused(
        "language-model-whose-tokens-see-one-another",
        then(partial(causal, model_type="llama", template=None), partial(named, is_causal=False)),
        no_reranker("LlamaForCausalLM", OTHER, "the mean of its tokens"),
    ),
    refused(
        "instructor-with-prompts",
        then(partial(encoder, model_type="bert", body=True), partial(embeddings, query="find: "), without_prompts),
        LEFT_OUT + ' `prompts = { query = "", document = "" }` in its card in models.toml has it read texts without a '
        "prompt, which it was not trained on.",
    ),
    refused(
        "instructor-with-prompts-for-tasks",
        then(partial(encoder, model_type="bert", body=True), partial(embeddings, sorting="sort: "), without_prompts),
        LEFT_OUT,
    ),
    *(
        refused(
            f"{where}-tokenised-by-another-setting",
            then(make, with_settings(**settings)),
            f"tiny has its texts tokenised by the setting {named} in its sentence_bert_config.json, which this server "
            "does not support. Use a model that was saved without it.",
        )
        for where, make, named, settings in (
            ("pairs", then(make_bert, reading_plain_texts), "processing_kwargs.text.add_special_tokens", BARE),
            ("embeddings", EMBEDDINGS, "processing_kwargs.text.add_special_tokens", BARE),
            (
                "common",
                then(make_bert, reading_plain_texts),
                "processing_kwargs.common.max_length",
                {"processing_kwargs": {"common": {"max_length": 9}}},
            ),
            (
                "templates",
                then(partial(causal, model_type="qwen3", template=ZERANK), lambda folder: with_logit_score(folder, 7)),
                "processing_kwargs.chat_template.max_length",
                {"processing_kwargs": {"chat_template": {"max_length": 9}}},
            ),
            ("queries", EMBEDDINGS, "query_length", {"query_length": 9}),
        )
    ),
    *(
        refused(
            f"{kind}-in-blocks",
            partial(encoder, model_type=kind, block_size=4, max_position_embeddings=256, eos_token_id=3, **sizes),
            "tiny is a BigBird, which computes texts of more than 44 tokens in blocks only until it reads a shorter "
            "one: `max_length = 44` in its card in models.toml has all texts computed whole.",
        )
        for kind, sizes in (("big_bird", NOTHING), ("bigbird_pegasus", BART))
    ),
    refused(
        "reformer",
        partial(
            encoder,
            model_type="reformer",
            axial_pos_shape=[16, 8],
            axial_pos_embds_dim=[16, 16],
            attn_layers=["local", "lsh"],
            attention_head_size=8,
            feed_forward_size=64,
            num_buckets=4,
        ),
        "tiny is a Reformer, which sorts tokens by chance: the score of a pair changes from call to call. Use another "
        "reranker, such as BAAI/bge-reranker-v2-m3.",
    ),
    refused(
        "nomic-embed-own-code",
        then(
            partial(encoder, model_type="bert", body=True),
            embeddings,
            lambda folder: rewrite(folder / "config.json", auto_map={"AutoModel": "modeling.NomicBertModel"}),
        ),
        "tiny cannot be used: it needs Python code of its own (modeling.NomicBertModel), which runs "
        "only if the model's card in models.toml says `trust_remote_code = true`. Read the code "
        "first.",
    ),
]


@pytest.mark.parametrize(("make", "message", "card"), REFUSED)
def test_a_layout_is_refused_by_name(tmp_path: Path, make: Make, message: str, card: dict[str, Any]) -> None:
    folder = tmp_path / "tiny"
    make(folder)

    with pytest.raises(ModelUnavailable) as refusal:
        load(folder, ModelCard(**card))

    assert refusal.value.message == message
