from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rerank.catalog.models_file import read_models_file
from rerank.catalog.prompts import MXBAI_RERANK_V2, PROMPTS, QWEN3_RERANKER, PromptFormat
from rerank.errors import SettingsError

TABLE = """
[[model]]
id = "maker/asks"

[model.prompt]
system = "<|im_start|>system\\n"
request = "{query}"
between = "<|im_end|>"
suffix = "<|im_end|>"
yes = "Yes"
no = ""
"""


def read(folder: Path, text: str) -> PromptFormat | None:
    (folder / "models.toml").write_text(text)
    (card,) = read_models_file(folder / "models.toml")
    return card.prompt


def test_a_card_in_models_toml_may_say_how_its_model_is_asked(tmp_path: Path) -> None:
    assert read(tmp_path, TABLE) == PromptFormat(
        "<|im_start|>system\n", "{query}", "<|im_end|>", between="<|im_end|>", yes="Yes", no=""
    )


@pytest.mark.parametrize(
    ("line", "wrong", "where"),
    [
        ('request = "{query}"', 'request = "{question}"', "model.0.prompt: `request` has to hold {query}"),
        ('request = "{query}"', 'request = "{query} {document}"', "model.0.prompt: `request` has to hold {query}"),
        ('request = "{query}"', 'request = "{query"', "model.0.prompt: "),
        ('yes = "Yes"', 'instructed = "{instruction}"', "model.0.prompt: `instructed` has to hold {query}"),
        ('yes = "Yes"', "yes = -1", "model.0.prompt: `yes` and `no` are tokens"),
        ('yes = "Yes"', "yes = true", "model.0.prompt: `yes` and `no` are tokens"),
        ('yes = "Yes"', 'activation = "identity"', "model.0.prompt.activation"),
        ('yes = "Yes"', 'maybe = "Yes"', "model.0.prompt.maybe"),
    ],
    ids=["no-query", "unknown-name", "open-brace", "instructed", "no-token", "no-text", "activation", "unknown-key"],
)
def test_a_prompt_with_a_mistake_names_it(tmp_path: Path, line: str, wrong: str, where: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        read(tmp_path, TABLE.replace(line, wrong))
    assert where in str(refusal.value)


def test_braces_of_a_query_are_left_as_they_are() -> None:
    assert QWEN3_RERANKER.ask("{query}", "{0}").startswith("<Instruct>: {query}\n<Query>: {0}\n")


def test_an_instruction_counts_only_where_the_prompt_has_a_place_for_it() -> None:
    assert QWEN3_RERANKER.takes_instruction
    assert not replace(QWEN3_RERANKER, request="{query}").takes_instruction


@pytest.mark.parametrize("name", PROMPTS)
def test_a_card_may_name_a_known_prompt(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, f'[[model]]\nid = "maker/asks"\nprompt = "{name}"') is PROMPTS[name]


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"model\.0\.prompt: .*qwen3-reranker, .*zerank-2"):
        read(tmp_path, '[[model]]\nid = "maker/asks"\nprompt = "zerank"')


def test_a_token_may_be_given_by_its_number(tmp_path: Path) -> None:
    prompt = read(tmp_path, TABLE.replace('yes = "Yes"', "yes = 0"))
    assert prompt
    assert (prompt.yes, prompt.no) == (0, "")


def test_an_instruction_has_a_text_of_its_own_where_it_may_be_missing() -> None:
    assert MXBAI_RERANK_V2.ask("", "q") == "query: q"
    assert MXBAI_RERANK_V2.ask("i", "q") == "instruction: i\nquery: q"
    assert MXBAI_RERANK_V2.takes_instruction
