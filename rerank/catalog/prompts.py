"""Prompts of causal rerankers, as data: its texts, and the words whose logits are the score."""

from __future__ import annotations

from dataclasses import dataclass
from string import Formatter


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """The texts of a prompt in the order in which they are read, and the words that are scored after its last token.

    ``system``, ``between`` and ``suffix`` may name special tokens; texts of a request never can.
    """

    system: str
    """Text before every request."""
    request: str
    """Text with ``{query}``, and ``{instruction}`` where the model takes one."""
    suffix: str
    """Text after the document, which is never cut."""
    between: str = ""
    """Text between request and document."""
    lead: str = ""
    """Text that the tokenizer reads as one with the document, above all a space."""
    yes: str = "yes"
    """The token whose logit is the score, as the vocabulary spells it."""
    no: str = "no"
    """The token whose logit is subtracted; empty subtracts nothing."""
    instruction: str = ""
    """The instruction where neither card, checkpoint nor request has one."""

    def __post_init__(self) -> None:
        asked = placeholders(self.request)
        if "query" not in asked or asked - {"query", "instruction"}:
            raise ValueError("`request` has to hold {query}, and may hold {instruction}; other braces are doubled")
        if not self.system or not self.suffix:
            raise ValueError("`system` and `suffix` have to hold some text")

    @property
    def takes_instruction(self) -> bool:
        """True if an instruction changes the prompt."""
        return "instruction" in placeholders(self.request)

    def ask(self, instruction: str, query: str) -> str:
        """The text of a request."""
        return self.request.format(instruction=instruction, query=query)


def placeholders(text: str) -> set[str]:
    """Names in braces. Raises ValueError for unbalanced braces."""
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


# QwenLM/Qwen3-Embedding, examples/qwen3_reranker_transformers.py
QWEN3_RERANKER = PromptFormat(
    system=(
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    ),
    request="<Instruct>: {instruction}\n<Query>: {query}\n<Document>:",
    # the space belongs to the document's first word, as it would in one text
    lead=" ",
    suffix="<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    instruction="Given a web search query, retrieve relevant passages that answer the query",
)
RECOGNISED = (QWEN3_RERANKER,)
"""Prompts that a checkpoint's own template shows, so that no card is needed; the first is the default."""
