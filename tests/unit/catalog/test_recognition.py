"""The family of a folder, by its small files and its card; kinds of models that are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rerank.catalog.cards import ModelCard
from rerank.catalog.evidence import read_evidence
from rerank.catalog.families import BI_ENCODER, CROSS_ENCODER, LATE_INTERACTION
from rerank.catalog.other_kinds import other_format
from rerank.catalog.prompts import QWEN3_RERANKER
from rerank.catalog.recognition import recognised_family
from rerank.errors import ModelUnsupported, WeightsBroken

from .folders import write_json, write_modules

ASKS = """{% for m in messages if m.role == "query" or m.role == 'document' %}{{ m.content }}{% endfor %}"""
MLX = {"bits": 4, "group_size": 64}
CHAT = "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}"


def family(folder: Path, architecture: str, card: ModelCard | None = None, **config: Any) -> str:
    return recognised_family(read_evidence(folder, config, architecture), card)


def refusal(folder: Path, architecture: str, card: ModelCard | None = None, **config: Any) -> str:
    with pytest.raises(ModelUnsupported) as refused:
        family(folder, architecture, card, **config)
    message = refused.value.message
    assert message.startswith(f"{folder.name} ")
    assert message.endswith(".")
    return message


def save_as(folder: Path, model_type: str, *modules: str) -> None:
    write_json(folder / "config_sentence_transformers.json", {"model_type": model_type})
    write_modules(folder, *modules)


def save_chain(folder: Path, outputs: int, *kinds: str) -> None:
    entries = [{"type": f"x.{kind}", "path": f"{place}_{kind}"} for place, kind in enumerate(kinds)]
    write_json(folder / "modules.json", entries)
    write_json(folder / f"{len(kinds) - 1}_Dense" / "config.json", {"out_features": outputs})


@pytest.mark.parametrize(
    ("model_type", "expected"),
    [
        ("CrossEncoder", CROSS_ENCODER),
        ("SentenceTransformer", BI_ENCODER),
        ("MultiVectorEncoder", LATE_INTERACTION),
        ("ColBERT", LATE_INTERACTION),
    ],
)
@pytest.mark.parametrize("architecture", ["BertModel", "BertForSequenceClassification", "Qwen3ForCausalLM"])
def test_the_class_that_saved_a_folder_decides(
    tmp_path: Path, model_type: str, expected: str, architecture: str
) -> None:
    save_as(tmp_path, model_type, "Transformer", "Pooling")
    assert family(tmp_path, architecture) == expected


def test_a_head_decides_before_the_modules(tmp_path: Path) -> None:
    write_modules(tmp_path, "Transformer", "Pooling")
    assert family(tmp_path, "BertForSequenceClassification") == CROSS_ENCODER


@pytest.mark.parametrize(
    ("outputs", "kinds", "expected"),
    [
        (1, ("Transformer", "Pooling", "Dense"), CROSS_ENCODER),
        (1, ("Transformer", "Pooling", "Dense", "LayerNorm", "Dense"), CROSS_ENCODER),
        (256, ("Transformer", "Pooling", "Dense"), BI_ENCODER),
    ],
    ids=["lean", "ettin", "embedding"],
)
def test_a_chain_that_ends_in_one_number_scores_pairs(
    tmp_path: Path, outputs: int, kinds: tuple[str, ...], expected: str
) -> None:
    save_chain(tmp_path, outputs, *kinds)
    assert family(tmp_path, "ModernBertModel") == expected


@pytest.mark.parametrize("path", ["../elsewhere", "/elsewhere"])
def test_a_module_outside_the_folder_is_not_read(tmp_path: Path, path: str) -> None:
    entries = [{"type": "x.Pooling", "path": "1_Pooling"}, {"type": "x.Dense", "path": path}]
    write_json(tmp_path / "mine" / "modules.json", entries)
    write_json(tmp_path / "elsewhere" / "config.json", {"out_features": 1})
    assert family(tmp_path / "mine", "BertModel") == BI_ENCODER


def test_pooling_makes_an_embedding_model_of_what_its_configuration_calls_a_language_model(tmp_path: Path) -> None:
    write_modules(tmp_path, "Transformer", "Pooling", "Normalize")
    (tmp_path / "chat_template.jinja").write_text(CHAT)
    assert family(tmp_path, "Qwen3ForCausalLM") == BI_ENCODER


@pytest.mark.parametrize("place", ["chat_template.jinja", "tokenizer_config.json", "list"])
def test_a_template_with_a_place_for_query_and_document_makes_a_reranker(tmp_path: Path, place: str) -> None:
    if place == "chat_template.jinja":
        (tmp_path / place).write_text(ASKS)
    else:
        named = [{"name": "tool_use", "template": CHAT}, {"name": "default", "template": ASKS}]
        write_json(tmp_path / "tokenizer_config.json", {"chat_template": ASKS if place != "list" else named})
    assert family(tmp_path, "Qwen2ForCausalLM") == CROSS_ENCODER


@pytest.mark.parametrize("template", [5, {}, [5, {}, {"name": []}, {"name": "default", "template": 5}]])
def test_a_template_that_makes_no_sense_shows_nothing(tmp_path: Path, template: object) -> None:
    write_json(tmp_path / "tokenizer_config.json", {"chat_template": template})
    assert "is a language model" in refusal(tmp_path, "LlamaForCausalLM")


@pytest.mark.parametrize("template", [None, CHAT], ids=["no-template", "chat"])
def test_a_language_model_that_says_nothing_is_refused_with_the_lines_that_would_help(
    tmp_path: Path, template: str | None
) -> None:
    if template:
        (tmp_path / "chat_template.jinja").write_text(template)
    message = refusal(tmp_path, "LlamaForCausalLM")
    assert "is a language model (LlamaForCausalLM), and nothing in it says that it reranks" in message
    assert "`prompt" in message
    assert '`family = "bi-encoder"`' in message


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [
        ("BertModel", "bert"),
        ("XLMRobertaModel", "xlm-roberta"),
        ("DebertaV2Model", "deberta-v2"),
        ("T5EncoderModel", "t5"),
        ("Gemma3TextModel", "gemma3_text"),
        ("BertModel", None),
    ],
)
def test_a_body_alone_may_be_an_embedding_model(tmp_path: Path, architecture: str, kind: str | None) -> None:
    config: dict[str, Any] = {"model_type": kind} if kind else {}
    message = refusal(tmp_path, architecture, **config)
    assert "it is not a reranker. If it is an embedding model" in message


@pytest.mark.parametrize(
    ("architecture", "config"),
    [
        ("MonoElectraModel", {"model_type": "mono"}),
        ("BertForNextSentencePrediction", {"model_type": "bert"}),
        ("Reader", {}),
        ("Reader", {"auto_map": {"AutoModelForSequenceClassification": "reading.Reader"}}),
    ],
    ids=["unknown-type", "other-head", "no-type", "own-code"],
)
def test_a_model_of_which_nothing_is_known_may_be_a_reranker(
    tmp_path: Path, architecture: str, config: dict[str, Any]
) -> None:
    message = refusal(tmp_path, architecture, **config)
    assert "not a reranker" not in message
    assert "bi-encoder" not in message


@pytest.mark.parametrize("name", ["Qwen/Qwen3-Reranker-4B", "qwen/qwen3-reranker-8b"])
def test_a_known_repository_needs_no_template(tmp_path: Path, name: str) -> None:
    assert family(tmp_path, "Qwen3ForCausalLM", ModelCard(id=name)) == CROSS_ENCODER
    assert family(tmp_path, "Qwen3ForCausalLM", ModelCard(id="mine", repo=name)) == CROSS_ENCODER


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        (ModelCard(id="mine", family=BI_ENCODER), BI_ENCODER),
        (ModelCard(id="mine", family=CROSS_ENCODER), CROSS_ENCODER),
        (ModelCard(id="mine", prompt=QWEN3_RERANKER), CROSS_ENCODER),
    ],
    ids=["bi-encoder", "cross-encoder", "prompt"],
)
@pytest.mark.parametrize("architecture", ["BertModel", "Qwen3ForCausalLM", "BertForMaskedLM"])
def test_a_card_decides_before_the_folder(tmp_path: Path, card: ModelCard, expected: str, architecture: str) -> None:
    save_as(tmp_path, "SentenceTransformer")
    assert family(tmp_path, architecture, card) == expected


@pytest.mark.parametrize(
    ("architecture", "config", "told"),
    [
        ("Qwen3VLForConditionalGeneration", {"vision_config": {}}, "is a multimodal model (Qwen3VLForCond"),
        ("JinaForRanking", {}, "is a listwise reranker (JinaForRanking)"),
        ("BertForMaskedLM", {}, "is a masked language model (BertForMaskedLM)"),
        ("BartForConditionalGeneration", {}, "is a sequence-to-sequence model (BartForConditionalGeneration), which"),
        ("LayerWiseMiniCPMForCausalLM", {}, "has a head for each of its layers"),
        ("Qwen3ForCausalLM", {"quantization_config": {"quant_method": "awq"}}, "is quantised (AWQ)"),
        ("Qwen3ForCausalLM", {"quantization_config": {"quant_method": "fp8"}}, "is quantised (FP8)"),
        ("Qwen3ForCausalLM", {"quantization_config": {"quant_method": "new"}}, "is quantised (new)"),
        ("Qwen3ForCausalLM", {"compression_config": {"quant_method": "new"}}, "is quantised (new)"),
        ("Qwen3ForCausalLM", {"quantization": MLX}, "is quantised (MLX)"),
        ("Qwen3ForCausalLM", {"quantization": MLX, "quantization_config": MLX}, "is quantised (MLX)"),
    ],
)
def test_another_kind_of_model_is_named_with_what_to_use_instead(
    tmp_path: Path, architecture: str, config: dict[str, Any], told: str
) -> None:
    message = refusal(tmp_path, architecture, **config)
    assert told in message
    assert "Use " in message


def test_a_folder_saved_as_another_kind_is_named(tmp_path: Path) -> None:
    save_as(tmp_path, "SparseEncoder", "Transformer", "Pooling")
    assert "SPLADE" in refusal(tmp_path, "BertModel")


def test_modules_of_pylate_show_late_interaction(tmp_path: Path) -> None:
    write_json(tmp_path / "modules.json", [{"type": "pylate.models.Dense.Dense", "path": "1_Dense"}])
    assert family(tmp_path, "ModernBertModel") == LATE_INTERACTION


def test_the_architecture_of_stanford_shows_late_interaction(tmp_path: Path) -> None:
    assert family(tmp_path, "HF_ColBERT") == LATE_INTERACTION


def test_a_card_does_not_help_quantised_weights(tmp_path: Path) -> None:
    card = ModelCard(id="mine", family=CROSS_ENCODER)
    assert "AWQ" in refusal(tmp_path, "Qwen3ForCausalLM", card, quantization_config={"quant_method": "awq"})


@pytest.mark.parametrize("file", ["modules.json", "config_sentence_transformers.json", "tokenizer_config.json"])
def test_a_file_that_is_no_json_is_named(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_text("[")
    with pytest.raises(WeightsBroken, match=rf"/{file.replace('.', '[.]')} is not JSON"):
        family(tmp_path, "BertModel")


def test_a_template_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(WeightsBroken, match=r"/chat_template\.jinja is not UTF-8"):
        family(tmp_path, "BertModel")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["pytorch_model.bin", "config.json"], '`revision = "refs/pr/1"`'),
        (["model-Q4_K_M.gguf"], "(GGUF)"),
        (["onnx/model.onnx"], "ONNX"),
        (["adapter_config.json", "adapter_model.safetensors"], "LoRA adapter"),
        (["openvino_model.bin", "openvino_model.xml"], "OpenVINO"),
        (["README.md", "openvino/openvino_model.bin"], "OpenVINO"),
        (["pytorch_model.bin", "model-Q4_K_M.gguf"], "--convert"),
        (["README.md", "weights.npz"], None),
    ],
    ids=["pickles", "gguf", "onnx", "adapter", "openvino", "openvino-folder", "pickles-and-gguf", "nothing-known"],
)
def test_other_formats_of_weights_are_named(files: list[str], told: str | None) -> None:
    message = other_format(files)
    assert (message is None) if told is None else (message and told in message and message.endswith("."))
