"""Prompts of causal rerankers, as data: texts, their order, the words whose logits are the score, and its scale."""

from __future__ import annotations

from dataclasses import dataclass, replace
from string import Formatter

from rerank.activations import IDENTITY, SIGMOID, Activation

Word = str | int
"""A token as the vocabulary spells it, or its number."""


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """The texts of a prompt in the order in which they are read, and the words that are scored after its last token.

    ``system``, ``between`` and ``suffix`` may name special tokens; texts of a request never can.
    """

    system: str
    """Text before every request."""
    request: str
    """Text with ``{query}``, and ``{instruction}`` where the model always takes one."""
    suffix: str
    """Text after query and document, which is never cut."""
    instructed: str = ""
    """The text instead of ``request`` where there is an instruction; empty: ``request`` has a place for it, or none."""
    between: str = ""
    """Text between request and document."""
    lead: str = ""
    """Text that the tokenizer reads as one with the document, above all a space."""
    tail: str = ""
    """The same after the document, above all a line feed; it stays where the document is cut."""
    document_first: bool = False
    """True if the document stands before the request."""
    special_start: bool = False
    """True if the prompt begins with the special tokens that the tokenizer puts before a text."""
    strips: bool = False
    """True removes white space around query and document."""
    yes: Word = "yes"
    """The token whose logit is the score."""
    no: Word = "no"
    """The token whose logit is subtracted; empty subtracts nothing."""
    instruction: str = ""
    """The instruction where neither card, checkpoint nor request has one."""
    activation: Activation = SIGMOID
    """How logits become relevance where neither card nor checkpoint says."""

    def __post_init__(self) -> None:
        if any(isinstance(word, int) and word < 0 for word in (self.yes, self.no)):
            raise ValueError("`yes` and `no` are tokens, or their numbers from 0")
        for name, text in (("request", self.request), ("instructed", self.instructed or self.request)):
            asked = placeholders(text)
            if "query" not in asked or asked - {"query", "instruction"}:
                raise ValueError(f"`{name}` has to hold {{query}}, and may hold {{instruction}}; double other braces")

    @property
    def takes_instruction(self) -> bool:
        """True if an instruction changes the prompt."""
        return "instruction" in placeholders(self.instructed or self.request)

    def ask(self, instruction: str, query: str) -> str:
        """The text of a request."""
        text = self.instructed if instruction and self.instructed else self.request
        return text.format(instruction=instruction, query=query)

    def whole(self, instruction: str, query: str, document: str) -> str:
        """The text of a prompt."""
        asked, read = self.ask(instruction, query), f"{self.lead}{document}{self.tail}"
        first, second = (read, asked) if self.document_first else (asked, read)
        return f"{self.system}{first}{self.between}{second}{self.suffix}"


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
# mixedbread-ai/mxbai-rerank, mxbai_rerank_v2.py, which tokenises query and document apart
MXBAI_RERANK_V2 = PromptFormat(
    system=(
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n"
    ),
    request="query: {query}",
    instructed="instruction: {instruction}\nquery: {query}",
    between="\n",
    lead="document: ",
    suffix=(
        "\nYou are a search relevance expert who evaluates how well documents match search queries. For each "
        "query-document pair, carefully analyze the semantic relationship between them, then provide your binary "
        "relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:<|im_end|>\n<|im_start|>assistant\n"
    ),
    yes="1",
    no="0",
    activation=IDENTITY,
)
_MXBAI_TEMPLATE = replace(
    MXBAI_RERANK_V2,
    request="query: {query}\ndocument:",
    instructed="instruction: {instruction}\nquery: {query}\ndocument:",
    between="",
    lead=" ",
    tail="\n",
    suffix=MXBAI_RERANK_V2.suffix.removeprefix("\n"),
)
"""The same text, tokenised in one piece, as a chat template is."""
# vllm-project/vllm, examples/pooling/score/template/zerank2.jinja and its tests, for the scale
ZERANK_2 = PromptFormat(
    system="<|im_start|>system",
    request="\n{query}",
    between="<|im_end|>\n<|im_start|>user",
    lead="\n",
    suffix="<|im_end|>\n<|im_start|>assistant\n",
    yes="Yes",
    no="",
    activation=replace(SIGMOID, scale=5.0),
)
# zeroentropy/zerank-1, modeling_zeranker.py
ZERANK_1 = replace(ZERANK_2, strips=True)
# the cards of ContextualAI's models
CTXL_RERANK_V2 = PromptFormat(
    system="Check whether a given document contains information helpful to answer the query.\n<Document>",
    request="<Query> {query} ??",
    instructed="<Query> {query} {instruction} ??",
    suffix="",
    lead=" ",
    tail="\n",
    document_first=True,
    special_start=True,
    yes=0,
    no="",
    activation=IDENTITY,
)
# FlagOpen/FlagEmbedding, inference/reranker/decoder_only/base.py
BGE_RERANKER_V2_GEMMA = PromptFormat(
    system="",
    request="A: {query}",
    between="\n",
    lead="B: ",
    suffix=(
        "\nGiven a query A and a passage B, determine whether the passage contains an answer to the query by providing "
        "a prediction of either 'Yes' or 'No'."
    ),
    special_start=True,
    yes="Yes",
    no="",
    activation=IDENTITY,
)
# the card of nvidia/llama-nemotron-rerank-1b-v2, which has a head instead of words
LLAMA_NEMOTRON_RERANK = PromptFormat(
    system="",
    request="question:{query} \n \n passage",
    lead=":",
    suffix="",
    special_start=True,
    activation=IDENTITY,
)
# castorini/pygaggle, pygaggle/model/tokenize.py and pygaggle/rerank/transformer.py
MONOT5 = PromptFormat(
    system="",
    request="Query: {query} Document:",
    lead=" ",
    suffix=" Relevant:",
    yes="▁true",
    no="▁false",
)
MT5_MMARCO = replace(MONOT5, yes="▁yes", no="▁no")
PTT5_MSMARCO = replace(MONOT5, yes="▁sim", no="▁não")
# AnswerDotAI/rerankers, rerankers/models/t5ranker.py, and the cards of unicamp-dl's models
MONOPTT5 = replace(MONOT5, request="Pergunta: {query} Documento:", suffix=" Relevante:", yes="▁Sim", no="▁Não")
MT5_TRUE = replace(MONOT5, no="▁")
PROMPTS = {
    "qwen3-reranker": QWEN3_RERANKER,
    "mxbai-rerank-v2": MXBAI_RERANK_V2,
    "zerank-1": ZERANK_1,
    "zerank-2": ZERANK_2,
    "ctxl-rerank-v2": CTXL_RERANK_V2,
    "bge-reranker-v2-gemma": BGE_RERANKER_V2_GEMMA,
    "llama-nemotron-rerank": LLAMA_NEMOTRON_RERANK,
    "monot5": MONOT5,
    "mt5-mmarco": MT5_MMARCO,
    "mt5-true": MT5_TRUE,
    "ptt5-msmarco": PTT5_MSMARCO,
    "monoptt5": MONOPTT5,
}
"""By name, as in models.toml."""
RECOGNISED = (QWEN3_RERANKER, _MXBAI_TEMPLATE, ZERANK_2, CTXL_RERANK_V2)
"""Prompts that a checkpoint's own template shows, so that no card is needed."""
