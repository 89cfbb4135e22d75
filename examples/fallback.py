"""A local model, then an API, then cosine: the first that can answers, and the answer says which one did.

    RERANK_MODELS_FILE=examples/models.toml make serve
    pip install requests
    python examples/fallback.py

In examples/models.toml the local model has no weights and the API cannot be reached, so that all of it is seen.
"""

from __future__ import annotations

from common import connect, handbook

from rerank_client import NotFoundError, RerankError, RerankResults, SyncRerankClient

QUESTION = "there is a puddle below my coffee maker"


def show(results: RerankResults, texts: list[str]) -> None:
    """The model that answered, whether it is the first choice, and all that were asked."""
    print(f"    model: {results.model}, degraded: {results.degraded}")
    for step in results.meta["route"]:
        print(f"    asked: {step['model']}: {step['outcome']} after {step['ms']:.0f} ms")
    print(f"    best:  {texts[results[0].index]}")


def ask(client: SyncRerankClient, model: str, *fallbacks: str) -> None:
    """Ask one model, with others to fall back to."""
    texts = [passage.text for passage in handbook()]
    print(" -> ".join((model, *fallbacks)))
    try:
        show(client.rerank(QUESTION, texts, model=model, fallbacks=fallbacks or None), texts)
    except NotFoundError as error:
        raise SystemExit(f"{error}\nThe server needs RERANK_MODELS_FILE=examples/models.toml.") from error
    except RerankError as error:
        print(f"    no answer: {error}")


def main() -> None:
    """A model alone, a chain from the models file, a chain from the request."""
    with connect() as client:
        ask(client, "far")
        ask(client, "always")
        ask(client, "far", "lexical")


if __name__ == "__main__":
    main()
