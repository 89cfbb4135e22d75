"""Templates of chats, rendered as transformers does it, without transformers where they need nothing of it."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from rerank.scorers.libraries import import_transformers

__all__ = ["TemplateError", "render"]


def render(template: str, messages: list[dict[str, str]], *, answers: bool) -> str:
    """What a template makes of the messages, with what begins an answer if that is asked for.

    Raises TemplateError or TypeError.
    """
    try:
        return (
            _environment()
            .from_string(template)
            .render(messages=messages, tools=None, documents=None, add_generation_prompt=answers)
        )
    except TemplateError:
        # it takes more than the language itself, or is a chat's
        import_transformers()
        from transformers.utils.chat_template_utils import render_jinja_template

        # annotated as a string, which it is not
        rendered: Any = render_jinja_template([messages], chat_template=template, add_generation_prompt=answers)[0]
        return str(rendered[0])


@cache
def _environment() -> Environment:
    """Templates that need nothing but their messages, rendered as transformers does it."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals = {"range": environment.globals["range"]}
    # transformers has another one of its own
    del environment.filters["tojson"]
    return environment
