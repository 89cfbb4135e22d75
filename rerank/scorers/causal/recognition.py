"""Recognition of known prompts by a checkpoint's template and scored words."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.prompts import RECOGNISED, PromptFormat
from rerank.scorers.pretrained import open_tokenizer, read_json
from rerank.scorers.saved_modules import SavedModules, saved_modules
from rerank.scorers.scored_words import token_id

_QUERY, _DOCUMENT, _INSTRUCTION = "a query", "a document", "an instruction"
_PAIR = [{"role": "query", "content": _QUERY}, {"role": "document", "content": _DOCUMENT}]


def recognised_format(checkpoint: Checkpoint) -> PromptFormat | None:
    """The known prompt that the checkpoint's template asks with. None if with another, or if other words are scored.

    A template that leaves query or document out is a chat's, and shows nothing. None also where modules of
    sentence-transformers read pairs otherwise than in the template alone.
    """
    saved = saved_modules(checkpoint.folder)
    if saved and not saved.reads_template:
        return None
    words = _scored_words(checkpoint.folder, saved)
    for answers in (saved.begins_answers,) if saved else (False, True):
        shown = _shown_prompts(checkpoint.evidence.template, answers=answers)
        is_asked = partial(_is_asked, checkpoint.folder, shown, words)
        found = next((known for known in RECOGNISED if shown and is_asked(known)), None)
        if found:
            return found
    return None


def _scored_words(folder: Path, saved: SavedModules | None) -> dict[str, Any]:
    """What the folder says of the words whose logits are the score; empty if it names none."""
    path = saved.folders[-1] if saved and saved.kinds[-1] == "LogitScore" else "1_LogitScore"
    return read_json(folder / path / "config.json")


def _shown_prompts(template: str | None, *, answers: bool) -> dict[str, str]:
    """Prompts that the template makes of a pair, by instruction: without one, and with one.

    sentence-transformers gives the template a message for each text, with the instruction as the system's.
    """
    if not template:
        return {}
    # slow to import, and a model with a prompt of its own needs it only
    from rerank.scorers.causal.templates import TemplateError, render

    shown: dict[str, str] = {}
    for instruction in ("", _INSTRUCTION):
        messages = [{"role": "system", "content": instruction}] if instruction else []
        try:
            rendered = render(template, messages + _PAIR, answers=answers)
        except (TemplateError, TypeError):
            # templates for chats may reject other roles
            break
        if _QUERY in rendered and _DOCUMENT in rendered:
            shown[instruction] = rendered
    return shown


def _is_asked(folder: Path, shown: dict[str, str], words: dict[str, Any], known: PromptFormat) -> bool:
    """True if the prompts are the known one's, and the words that the folder names, if it names any."""
    if any(known.whole(asked or known.instruction, _QUERY, _DOCUMENT) != prompt for asked, prompt in shown.items()):
        return False
    tokenizer = open_tokenizer(folder)
    # a template's text gets no special tokens of the tokenizer
    starts_alike = not (known.special_start and tokenizer.num_special_tokens_to_add(False))
    scored = (words.get("true_token_id"), words.get("false_token_id"))
    return starts_alike and (not words or scored == (token_id(tokenizer, known.yes), token_id(tokenizer, known.no)))
