"""Late interaction: scores equal the procedure by hand and sentence-transformers', on every runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from rerank.activations import IDENTITY
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.core import Pair, ScoringOptions, Truncation
from rerank.devices import choose_device
from rerank.errors import InvalidRequest
from rerank.runtimes.segments import Segment
from rerank.scorers.base import Placement, Scorer, score
from rerank.scorers.late_interaction.procedure import Procedure, Side
from rerank.scorers.late_interaction.texts import skipped_tokens
from rerank.scorers.load import load_scorer
from tests.parity.late import (
    make_multi_vector,
    make_pylate,
    make_stanford,
    pylate_by_hand,
    saved_late,
    stanford_by_hand,
)
from tests.parity.layouts import Reference

DOCUMENTS = ("machine learning is a branch of AI", "", "one more word, " * 30, "a", "the giant panda is a bear", "?")
QUERIES = ("what is machine learning?", "", "many more words than a query of this model may have: " * 3)
PAIRS = [Pair(query, document) for document in DOCUMENTS for query in QUERIES]
TEXTS = [(pair.query, pair.document) for pair in PAIRS]

MODELS: dict[str, tuple[Callable[[Path], Path], tuple[Reference, ...]]] = {
    # marks that the vocabulary lacks are unknown words, which Stanford's code then leaves out too
    "stanford": (make_stanford, (stanford_by_hand(),)),
    "stanford, attended": (partial(make_stanford, attend_to_mask_tokens=True), (stanford_by_hand(attends=True),)),
    "stanford, punctuation counts": (
        partial(make_stanford, mask_punctuation=False),
        (stanford_by_hand(skipped=()), saved_late),
    ),
    "pylate": (make_pylate, (pylate_by_hand(), saved_late)),
    "pylate, attended": (
        partial(make_pylate, attend_to_expansion_tokens=True),
        (pylate_by_hand(attends=True), saved_late),
    ),
    "pylate, not expanded": (
        partial(make_pylate, do_query_expansion=False),
        (pylate_by_hand(expands=False), saved_late),
    ),
    "pylate of bert": (partial(make_pylate, model_type="bert"), (pylate_by_hand(), saved_late)),
    "pylate of xlm-roberta": (partial(make_pylate, model_type="xlm-roberta"), (pylate_by_hand(),)),
    "two layers": (partial(make_pylate, wide=True), (saved_late,)),
    "sentence-transformers": (make_multi_vector, (saved_late,)),
    "sentence-transformers, expanded": (partial(make_multi_vector, attend=False), (saved_late,)),
}
CONVERTED = ("stanford", "pylate")


def load(folder: Path, runtime: str = "torch") -> Scorer:
    card = ModelCard(id=folder.name)
    placement = Placement(choose_device("cpu", "fp32", runtime), folder.parent / ".openvino")
    return load_scorer(read_checkpoint(folder, card), card, placement)


@pytest.mark.parametrize("name", MODELS)
def test_scores_equal_the_models_own_procedure(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, (reference, *others) = MODELS[name]
    folder = make(tmp_path / "colbert")
    expected = reference(folder, TEXTS)
    assert len({round(value, 3) for value in expected}) > len(DOCUMENTS)
    for other in others:
        assert other(folder, TEXTS) == pytest.approx(expected, abs=1e-4)
    # converting takes seconds
    for runtime in ("torch", "packed", *(["openvino"] if name in CONVERTED else [])):
        monkeypatch.setattr("rerank.scorers.networks.runs_packed", lambda _, packed=runtime == "packed": packed)
        check_scores(load(folder, runtime.replace("packed", "torch")), runtime, expected)


def check_scores(scorer: Scorer, runtime: str, expected: list[float]) -> None:
    encoded = scorer.encode(PAIRS)

    assert runtime in scorer.runtime
    assert scorer.activation == IDENTITY
    assert score(scorer, encoded) == pytest.approx(expected, abs=1e-4)
    assert score(scorer, encoded[:1]) == pytest.approx(expected[:1], abs=1e-4)


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    return load(make_stanford(tmp_path_factory.mktemp("late") / "colbert"))


def test_a_score_is_at_most_the_tokens_of_a_query(scorer: Scorer) -> None:
    same = score(scorer, scorer.encode([Pair("a bear", "a bear")]))

    assert scorer.max_length == 60
    assert 0 < same[0] <= 12


def test_a_query_is_cut_unless_that_is_forbidden(scorer: Any) -> None:
    pairs = [Pair(QUERIES[2], "a bear")]

    (cut,) = scorer.encode(pairs)

    assert cut.query.ids.tokens == 12
    with pytest.raises(InvalidRequest, match="query takes"):
        scorer.encode(pairs, ScoringOptions(truncation=Truncation(allowed=False)))


def test_a_document_is_cut_to_the_tokens_asked_for(scorer: Scorer) -> None:
    short, long = (Truncation(max_tokens=limit) for limit in (9, 40))

    lengths = [
        scorer.encode([Pair("a", DOCUMENTS[2])], ScoringOptions(truncation=truncation))[0].document.tokens
        for truncation in (short, long)
    ]

    assert lengths == [9, 40]


def test_a_batch_computes_each_text_once(scorer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(scorer._states)
    monkeypatch.setattr(scorer, "_states", counted)

    score(scorer, scorer.encode(PAIRS))

    assert counted.segments == [len(QUERIES) + len(DOCUMENTS)]


class Counted:
    """A runtime that counts the segments of its batches."""

    def __init__(self, runtime: Any) -> None:
        self.device = runtime.device
        self.segments: list[int] = []
        self._runtime = runtime

    def __call__(self, segments: Sequence[Segment]) -> Any:
        self.segments.append(len(segments))
        return self._runtime(segments)


@pytest.mark.parametrize(("first", "left_out"), [(True, ["▁!", "▁"]), (False, ["!"])])
def test_stanfords_models_leave_out_what_a_mark_is_read_as(first: bool, left_out: list[str]) -> None:
    pieces = [("<unk>", 0.0), ("▁", -2.0), ("!", -3.0), ("▁!", -3.0), ("?!", -9.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    side = Side(None)
    procedure = Procedure(side, side, None, ("!", "?"), skips_first=first, projections=())
    assert [tokenizer.id_to_token(token) for token in skipped_tokens(tokenizer, procedure)] == left_out
