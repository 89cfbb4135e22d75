"""What an embedding model reads before queries and documents."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rerank.catalog.built_in import known_text_prompts
from rerank.catalog.cards import ModelCard
from rerank.catalog.text_prompts import TextPrompts
from rerank.errors import ModelUnsupported

_TASK = re.compile(r"(Instruct: ?).+?(\nQuery: ?)", re.DOTALL)
"""The prompt of Qwen3-Embedding, e5-instruct, gte-Qwen2 and others: a task, and behind it the query."""
_FOR_QUERIES = ("query", "web_search_query", "s2p_query", "search_query", "retrieval.query")
_FOR_DOCUMENTS = ("document", "passage", "corpus", "search_document", "retrieval.passage")
"""What the prompts of either role are called where texts are retrieved (e5-mistral, stella ...); the first is taken."""

_DOCUMENTS = "document|passage|corpus"
"""What a prompt for documents may have in its name."""


def prompts_of(card: ModelCard, saved: Mapping[str, str | None]) -> dict[str, str | None]:
    """The prompts of a model: the card's, else those of its files, else those that its page documents.

    Raises ModelUnsupported if its files have prompts for either role, and nothing says which to take.
    """
    own = TextPrompts(_first(saved, _FOR_QUERIES), _first(saved, _FOR_DOCUMENTS))
    known, said = known_text_prompts(card) or TextPrompts(), card.prompts or TextPrompts()
    prompts = said.over(own.over(known.over(saved)))
    if around_task(prompts) is None or not card.instruction:
        _check_role(
            prompts,
            "query",
            f"^(?!.*({_DOCUMENTS})).*(query|(^|[_.-])(question|search|retrieval)($|[_.-]))",
            said.query,
        )
    _check_role(prompts, "document", _DOCUMENTS, said.document)
    return prompts


def _first(saved: Mapping[str, str | None], names: Sequence[str]) -> str | None:
    return next((saved[name] for name in names if saved.get(name)), None)


def _check_role(prompts: Mapping[str, str | None], role: str, called: str, said: str | None) -> None:
    """Raise ModelUnsupported if prompts are called like those of a role, and none is taken for it."""
    if prompts.get(role) or said is not None:
        return
    if kinds := [name for name, prompt in sorted(prompts.items()) if prompt and re.search(called, name, re.IGNORECASE)]:
        raise ModelUnsupported(
            f"it is not known which of its prompts ({', '.join(kinds)}) stands before a {role} that is ranked. Say so "
            f'in models.toml: prompts = {{ {role} = "..." }}, "" for none.'
        )


def around_task(prompts: Mapping[str, str | None]) -> tuple[str, str] | None:
    """What stands before and behind the task in prompts for queries; None if they name none.

    A model without a prompt for queries has one for each task, all of the same form.
    """
    texts = [prompts["query"]] if prompts.get("query") else prompts.values()
    named = (_TASK.fullmatch(prompt) for prompt in texts if prompt)
    forms: set[tuple[str, str]] = {(found[1], found[2]) for found in named if found}
    return forms.pop() if len(forms) == 1 else None
