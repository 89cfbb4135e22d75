"""Recognition of known prompts by a checkpoint's template and scored words."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.prompts import RECOGNISED, PromptFormat
from rerank.scorers.causal.prompt import token_id
from rerank.scorers.libraries import import_transformers
from rerank.scorers.pretrained import open_tokenizer, read_json

_QUERY, _DOCUMENT, _INSTRUCTION = "a query", "a document", "an instruction"
_PAIR = [{"role": "query", "content": _QUERY}, {"role": "document", "content": _DOCUMENT}]


def recognised_format(checkpoint: Checkpoint) -> PromptFormat | None:
    """The known prompt that the checkpoint's template asks with. None if with another, or if other words are scored.

    A template that leaves query or document out is a chat's, and shows nothing.
    """
    shown = _shown_prompts(checkpoint.evidence.template)
    return next((known for known in RECOGNISED if shown and _is_asked(checkpoint.folder, known, shown)), None)


def _shown_prompts(template: str | None) -> dict[str, str]:
    """Prompts that the template makes of a pair, by instruction: without one, and with one.

    sentence-transformers gives the template a message for each text, with the instruction as the system's.
    """
    shown: dict[str, str] = {}
    for instruction in ("", _INSTRUCTION) if template else ():
        messages = [{"role": "system", "content": instruction}] if instruction else []
        try:
            rendered = _render(template or "", messages + _PAIR)
        except (TemplateError, TypeError):
            # templates for chats may reject other roles
            break
        if _QUERY in rendered and _DOCUMENT in rendered:
            shown[instruction] = rendered
    return shown


def _render(template: str, messages: list[dict[str, str]]) -> str:
    try:
        return (
            _environment()
            .from_string(template)
            .render(messages=messages, tools=None, documents=None, add_generation_prompt=False)
        )
    except TemplateError:
        # it takes more than the language itself, or is a chat's
        import_transformers()
        from transformers.utils.chat_template_utils import render_jinja_template

        # annotated as a string, which it is not
        rendered: Any = render_jinja_template([messages], chat_template=template)[0]
        return str(rendered[0])


@cache
def _environment() -> Environment:
    """Templates that need nothing but their messages, rendered as transformers does it."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals = {"range": environment.globals["range"]}
    # transformers has another one of its own
    del environment.filters["tojson"]
    return environment


def _is_asked(folder: Path, known: PromptFormat, shown: dict[str, str]) -> bool:
    """True if the prompts are the known one's, and the words that the folder names, if it names any."""
    if any(known.whole(asked or known.instruction, _QUERY, _DOCUMENT) != prompt for asked, prompt in shown.items()):
        return False
    tokenizer = open_tokenizer(folder)
    # a template's text gets no special tokens of the tokenizer
    starts_alike = not (known.special_start and tokenizer.num_special_tokens_to_add(False))
    words = read_json(folder / "1_LogitScore" / "config.json")
    scored = (words.get("true_token_id"), words.get("false_token_id"))
    return starts_alike and (not words or scored == (token_id(tokenizer, known.yes), token_id(tokenizer, known.no)))
