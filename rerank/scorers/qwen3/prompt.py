"""The prompt of Qwen3-Reranker, put together from token ids.

Source: QwenLM/Qwen3-Embedding, ``examples/qwen3_reranker_transformers.py``. Prefix, instruction and query come once a
request, then each document, then the suffix, which is never cut.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from tokenizers import Tokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from rerank.core import Pair, Truncation
from rerank.scorers.base import Reading, document_limit, pair_limit, too_long
from rerank.scorers.excerpts import read_texts
from rerank.scorers.pretrained import open_tokenizer, read_json
from rerank.scorers.tokens import tokens_wanted

SYSTEM = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
DEFAULT_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"

# documents one prefix is laid upon, at most: what a batch holds beside it is not nothing, for each attends to it
_MOST_SHARING = 8


def asks_as_we_do(folder: Path) -> bool:
    """False if the folder's template puts query and document into another prompt; one that leaves them out is a chat's.

    sentence-transformers gives the template a message for each, with the instruction as the system's.
    """
    file = folder / "chat_template.jinja"
    own = read_json(folder / "tokenizer_config.json").get("chat_template")
    template = file.read_text(encoding="utf-8") if file.is_file() else own
    if not isinstance(template, str):
        return True
    pair = [{"role": "query", "content": "a query"}, {"role": "document", "content": "a document"}]
    for instruction in (None, "an instruction"):
        said = [] if instruction is None else [{"role": "system", "content": instruction}]
        try:
            # annotated as a string, which it is not
            conversations: Any = render_jinja_template([[*said, *pair]], chat_template=template)[0]
        except (TemplateError, TypeError):
            # what only knows the roles of a chat may refuse others
            return True
        shown = f"{_ask(instruction or DEFAULT_INSTRUCTION, 'a query')} a document"
        (rendered,) = conversations
        if all(message["content"] in rendered for message in pair) and rendered != f"{SYSTEM}{shown}{SUFFIX}":
            return False
    return True


def _ask(instruction: str, query: str) -> str:
    return f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>:"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A pair as token ids, split where all documents of a request part."""

    prefix: tuple[int, ...]
    """System text, instruction and query, up to ``<Document>:``."""
    rest: tuple[int, ...]
    """The document and the suffix."""
    sharers: int = field(default=1, compare=False)
    """Prompts of the request that have this prefix, where it is computed once for all of them; else 1."""

    @property
    def tokens(self) -> int:
        """Tokens of the whole prompt."""
        return len(self.prefix) + len(self.rest)

    @property
    def computed(self) -> int:
        """The document's and its part of the prefix."""
        return len(self.rest) + math.ceil(len(self.prefix) / min(self.sharers, _MOST_SHARING))


class PromptTokenizer:
    """Texts to prompts. The texts of users cannot name special tokens, so they cannot forge the prompt."""

    def __init__(
        self, folder: Path, max_length: int, *, special_tokens_in_text: bool = False, keeps_prefix: bool = False
    ) -> None:
        """``keeps_prefix``: the prefix is computed once a request; without it, once a batch."""
        self._keeps_prefix = keeps_prefix
        special = open_tokenizer(folder)
        self.system = tuple(special.encode(SYSTEM, add_special_tokens=False).ids)
        self.suffix = tuple(special.encode(SUFFIX, add_special_tokens=False).ids)
        self.max_length = max_length
        self._text: Tokenizer = open_tokenizer(folder, special_tokens=special_tokens_in_text)

    def reading(self, pairs: Sequence[Pair], truncation: Truncation, instruction: str) -> Reading[list[Prompt]]:
        """See ``Scorer.reading``. An end of the document is cut off; instruction, query and suffix never are."""
        limit = pair_limit(truncation, self.max_length)
        queries = Counter(pair.query for pair in pairs)
        prefixes = {}
        for query in queries:
            prefixes[query] = yield from self._prefix(instruction, query, limit)
        rooms = [limit - len(prefixes[pair.query]) - len(self.suffix) for pair in pairs]
        wanted = [max(1, tokens_wanted(truncation, room)) for room in rooms]
        # the space belongs to the document's first word, as it would in one text
        documents = yield from read_texts(self._text, [f" {pair.document}" for pair in pairs], wanted, truncation.side)
        prompts = []
        for index, (pair, document, room) in enumerate(zip(pairs, documents, rooms, strict=True)):
            if len(document.ids) > room:
                raise too_long(index, limit - room + document.tokens, limit, whole=document.whole)
            sharers = queries[pair.query] if self._keeps_prefix else 1
            prompts.append(Prompt(prefixes[pair.query], (*document.ids, *self.suffix), sharers))
        return prompts

    def _prefix(self, instruction: str, query: str, limit: int) -> Reading[tuple[int, ...]]:
        """Everything before a document. Raises InvalidRequest if it leaves no room for one."""
        (asked,) = yield from read_texts(self._text, [_ask(instruction, query)], [limit], "right")
        taken = len(self.system) + len(self.suffix) + asked.tokens
        document_limit(taken, limit, self.max_length, whole=asked.whole)
        return (*self.system, *asked.ids)
