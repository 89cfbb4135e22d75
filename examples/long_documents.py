"""Documents longer than the model reads: read in chunks instead of cut, and the best chunk shown in the text.

    pip install requests
    python examples/long_documents.py

Each document is a whole chapter of the handbook; the bundled model reads the first 256 tokens of one.
"""

from __future__ import annotations

import textwrap
from itertools import groupby

from common import EMBEDDING_MODEL, connect, handbook

from rerank_client import RerankResults

QUESTION = "How do I keep the pipes from freezing while we are away?"


def chapters() -> dict[str, str]:
    """Each chapter's passages as one text."""
    return {
        name: " ".join(passage.text for passage in passages)
        for name, passages in groupby(handbook(), lambda passage: passage.chapter)
    }


def show(names: list[str], results: RerankResults) -> None:
    """One line per chapter."""
    for result in results:
        read = "cut" if result.details["truncated"] else "read to its end"
        print(f"    {result.relevance_score:.3f}  {names[result.index]:8} {result.details['tokens']} tokens, {read}")


def main() -> None:
    """Rank the chapters cut, then in chunks."""
    names, texts = list(chapters()), list(chapters().values())
    with connect() as client:
        cut = client.rerank(QUESTION, texts, model=EMBEDDING_MODEL)
        whole = client.rerank(QUESTION, texts, model=EMBEDDING_MODEL, max_chunks_per_doc=8, overlap_tokens=32)
    print(f"{QUESTION}\n\nCut to what the model reads:")
    show(names, cut)
    print("\nIn chunks, of which the best counts:")
    show(names, whole)
    best = whole[0]
    span = best.details["best_chunk"]
    print(f"\nThe best chunk of {names[best.index]}, characters {span['start']} to {span['end']}:")
    print(textwrap.indent(textwrap.fill(texts[best.index][span["start"] : span["end"]], 100), "    "))


if __name__ == "__main__":
    main()
