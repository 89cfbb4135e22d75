from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.catalog.built_in import BUILT_IN
from rerank.catalog.cards import ModelCard
from rerank.catalog.names import MAX_NAME, NameIndex, fold, is_plain, names_of, nearest_first, shown
from rerank.errors import ModelNotFound

MODELS = Path("models")
BASE = ModelCard(id="BAAI/bge-reranker-base", aliases=("Small-One",))
LARGE = ModelCard(id="BAAI/bge-reranker-large")
CARDS = (BASE, LARGE)


def resolve(name: str, cards: Sequence[ModelCard], models_dir: Path) -> ModelCard:
    return NameIndex.of(cards, models_dir).resolve(name)


@pytest.mark.parametrize(
    "name",
    [
        "BAAI/bge-reranker-base",
        "baai/BGE-Reranker-Base",
        "bge-reranker-base",
        "BGE-RERANKER-BASE",
        "small-one",
        "  bge-reranker-base\n",
        "bge-reranker-base/",
        "bge-reranker-base___VLLM",
        "BAAI/bge-reranker-base___OpenAI-API",
        "models/bge-reranker-base",
        "./models/bge-reranker-base/",
        "models/bge-reranker-base//",
        "models\\bge-reranker-base",
        ".\\models\\bge-reranker-base\\",
        "BAAI\\bge-reranker-base",
        str(MODELS.resolve() / "bge-reranker-base"),
        f"{MODELS.resolve()}/bge-reranker-base/",
    ],
)
def test_a_model_answers_to(name: str) -> None:
    assert resolve(name, CARDS, MODELS) is BASE


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "___VLLM",
        "evil/bge-reranker-base",
        "BAAI/models/bge-reranker-base",
        "other/models/bge-reranker-base",
        "../models/bge-reranker-base",
        "/bge-reranker-base",
        "/elsewhere/models/bge-reranker-base",
        "bge-reranker",
        "bge-reranker-base2",
        "bge_reranker_base",
        "BAAI/small-one",
    ],
)
def test_no_model_answers_to(name: str) -> None:
    with pytest.raises(ModelNotFound):
        resolve(name, CARDS, MODELS)


class TestPaths:
    def test_the_folder_named_by_a_card_means_the_card(self, tmp_path: Path) -> None:
        card = ModelCard(id="mine", path=tmp_path / "weights")
        assert resolve(str(tmp_path / "weights"), (BASE, card), MODELS) is card

    def test_a_link_to_the_models_folder_means_the_same_models(self, tmp_path: Path) -> None:
        real = tmp_path / "disk"
        real.mkdir()
        link = tmp_path / "models"
        link.symlink_to(real)
        assert resolve(str(real / "bge-reranker-base"), CARDS, link) is BASE
        assert resolve(str(link / "bge-reranker-base"), CARDS, link) is BASE

    def test_the_models_folder_is_known_by_its_own_name(self, tmp_path: Path) -> None:
        assert resolve("weights/bge-reranker-base", CARDS, tmp_path / "weights") is BASE
        with pytest.raises(ModelNotFound):
            resolve("models/bge-reranker-base", CARDS, tmp_path / "weights")


class TestPrecedence:
    def test_a_basename_that_two_cards_share_means_neither(self) -> None:
        ours, theirs = ModelCard(id="ours/base"), ModelCard(id="theirs/base")
        for name in ("base", "models/base"):
            with pytest.raises(ModelNotFound) as ambiguous:
                resolve(name, (ours, theirs), MODELS)
            assert (
                ambiguous.value.message == f"The name `{name}` is ambiguous. Use a full id: ours/base or theirs/base."
            )
        assert resolve("ours/base", (ours, theirs), MODELS) is ours
        assert resolve("theirs/base", (ours, theirs), MODELS) is theirs

    def test_an_id_beats_an_alias(self) -> None:
        nicknamed, named = ModelCard(id="maker/other", aliases=("base",)), ModelCard(id="base")
        assert resolve("base", (nicknamed, named), MODELS) is named

    def test_an_alias_beats_a_basename(self) -> None:
        named, nicknamed = ModelCard(id="maker/base"), ModelCard(id="maker/other", aliases=("base",))
        assert resolve("base", (named, nicknamed), MODELS) is nicknamed


class TestNamesOfACard:
    def test_go_from_the_strongest_to_the_weakest(self) -> None:
        folder = str(MODELS.resolve() / "bge-reranker-base")
        assert names_of(BASE, MODELS) == (
            ("BAAI/bge-reranker-base",),
            ("Small-One",),
            ("bge-reranker-base", "models/bge-reranker-base", folder),
        )

    def test_every_one_of_them_means_the_card(self) -> None:
        for card in BUILT_IN:
            for names in names_of(card, MODELS):
                for name in names:
                    assert resolve(name, BUILT_IN, MODELS) is card


class TestSpelling:
    """Ids that differ in little."""

    UPPER, LOWER = ModelCard(id="Reranker"), ModelCard(id="reranker")
    MODELSCOPE, SEQ_CLS = ModelCard(id="Qwen3-Reranker-0___6B"), ModelCard(id="Qwen3-Reranker-0___6B-seq-cls")

    @pytest.mark.parametrize("card", [UPPER, LOWER])
    def test_the_exact_one_comes_first(self, card: ModelCard) -> None:
        assert resolve(card.id, (self.UPPER, self.LOWER), MODELS) is card

    @pytest.mark.parametrize("name", ["RERANKER", "ReRanker/", "RERANKER___VLLM"])
    def test_another_one_means_neither(self, name: str) -> None:
        with pytest.raises(ModelNotFound, match=r"is ambiguous\. Use a full id: Reranker or reranker"):
            resolve(name, (self.UPPER, self.LOWER), MODELS)

    @pytest.mark.parametrize(
        ("name", "card"),
        [
            ("Qwen3-Reranker-0___6B", MODELSCOPE),
            ("Qwen3-Reranker-0.6B", MODELSCOPE),
            ("qwen3-reranker-0___6b___VLLM", MODELSCOPE),
            ("Qwen3-Reranker-0___6B-seq-cls", SEQ_CLS),
            ("Qwen3-Reranker-0.6B-seq-cls", SEQ_CLS),
        ],
    )
    def test_of_modelscope_is_no_suffix(self, name: str, card: ModelCard) -> None:
        assert resolve(name, (self.SEQ_CLS, self.MODELSCOPE), MODELS) is card

    def test_of_modelscope_does_not_mean_what_is_left_without_it(self) -> None:
        with pytest.raises(ModelNotFound):
            resolve("bge-0___6B", (ModelCard(id="bge-0"),), MODELS)

    def test_composed_letters_are_the_same_as_put_together_ones(self) -> None:
        card = ModelCard(id="mod\u00e8le")
        assert resolve("mode\u0300le", (card,), MODELS) is card


class TestUnknownNames:
    def test_the_error_lists_the_known_ones_the_nearest_first(self) -> None:
        with pytest.raises(ModelNotFound) as unknown:
            resolve("bge-reranker-lrge", CARDS, MODELS)
        assert unknown.value.message == (
            "The model `bge-reranker-lrge` does not exist. "
            "Known models: BAAI/bge-reranker-large, BAAI/bge-reranker-base."
        )

    def test_where_more_are_known_than_listed_the_error_says_where_all_are(self) -> None:
        with pytest.raises(ModelNotFound) as unknown:
            resolve("bge", [ModelCard(id=f"model-{number}") for number in range(11)], MODELS)
        assert unknown.value.elsewhere == " These are 10 of 11; /v1/models and `rerank models` list all."
        assert unknown.value.message.startswith("The model `bge` does not exist. Known models: model-")
        assert unknown.value.message.endswith("." + unknown.value.elsewhere)

    def test_an_endless_name_is_not_repeated_in_full(self) -> None:
        with pytest.raises(ModelNotFound) as unknown:
            resolve("x" * 10_000, CARDS, MODELS)
        assert len(unknown.value.message) < 400

    def test_at_most_ten_are_listed(self) -> None:
        assert len(nearest_first("m", [f"model-{number}" for number in range(50)])) == 10

    def test_another_organisations_name_is_near_by_its_basename(self) -> None:
        known = ["zzz/evil-org", "BAAI/bge-reranker-base"]
        assert nearest_first("evil/bge-reranker-base", known)[0] == "BAAI/bge-reranker-base"


@given(st.text(max_size=40))
def test_a_folded_name_has_no_case_no_backslash_and_no_slash_at_the_end(name: str) -> None:
    folded = fold(name)
    assert folded == fold(name.swapcase().swapcase()) or not name.isascii()
    assert folded == folded.lower() or not name.isascii()
    assert unicodedata.is_normalized("NFC", folded)
    assert "\\" not in folded
    assert not folded.endswith("/")


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("bge-reranker-base", True),
        ("org/name", True),
        ("模型", True),
        ("a b", True),
        ("line\nfeed", False),
        ("caf\udce9", False),
        ("nul\0", False),
        ('quo"te', False),
        ("back\\slash", False),
        ("..", False),
        ("a/../b", False),
        ("a/./b", False),
        ("/a", False),
        ("", False),
    ],
)
def test_a_plain_name_can_be_shown_and_stays_in_its_folder(name: str, plain: bool) -> None:
    assert is_plain(name) == plain


def test_a_name_is_shown_without_what_no_terminal_prints() -> None:
    assert shown("a\nb" + "c" * 1000) == "a�b" + "c" * 197


@pytest.mark.parametrize(("length", "known"), [(MAX_NAME, True), (MAX_NAME + 1, False)])
def test_a_name_is_looked_up_unless_it_is_endless(length: int, known: bool) -> None:
    index = NameIndex.of([ModelCard(id="a" * length)], MODELS)
    if known:
        assert index.resolve("a" * length).id == "a" * length
    else:
        with pytest.raises(ModelNotFound):
            index.resolve("a" * length)


def test_weights_that_lie_elsewhere_are_a_name_of_their_model(tmp_path: Path) -> None:
    index = NameIndex.of(CARDS, MODELS, {LARGE.id: tmp_path / "mine"})
    assert index.resolve(str(tmp_path / "mine")) is LARGE
    assert index.resolve("models/bge-reranker-base") is BASE


class TestSpellings:
    """An alias, and another card's name that is spelt alike."""

    def test_in_another_case_an_alias_beats_a_basename(self) -> None:
        alias, basename = ModelCard(id="x/one", aliases=("Two",)), ModelCard(id="x/two")
        assert resolve("TWO", (basename, alias), MODELS) is alias

    def test_in_another_case_a_dot_beats_what_modelscope_writes_for_it(self) -> None:
        dot, joint = ModelCard(id="x/m0.6b"), ModelCard(id="m0___6b")
        assert resolve("M0.6B", (joint, dot), MODELS) is dot

    def test_what_modelscope_writes_for_a_name_of_two_cards_means_neither(self) -> None:
        alias, basename = ModelCard(id="x/one", aliases=("m0.6b",)), ModelCard(id="x/m0.6b")
        with pytest.raises(ModelNotFound, match="ambiguous"):
            resolve("m0___6b", (alias, basename), MODELS)

    @pytest.mark.parametrize(("name", "known"), [("mine___v1", True), ("mine___1v", False), ("mine___v/1", False)])
    def test_a_suffix_begins_with_a_letter_and_has_no_folder(self, name: str, known: bool) -> None:
        mine = ModelCard(id="mine")
        if known:
            assert resolve(name, (mine,), MODELS) is mine
        else:
            with pytest.raises(ModelNotFound):
                resolve(name, (mine,), MODELS)


def test_of_names_that_share_as_much_the_shorter_is_nearer() -> None:
    assert nearest_first("abcd", ["abcdefghijkl", "abcdef"]) == ["abcdef", "abcdefghijkl"]


@pytest.mark.parametrize("organisation", ["acme", "x/acme"])
def test_an_organisation_does_not_make_a_name_near(organisation: str) -> None:
    assert nearest_first(f"{organisation}/bge", ["acme/zzz", "other/bge"])[0] == "other/bge"


def test_an_alias_stands_for_its_model_where_it_is_more_similar() -> None:
    known = ["acme/other", "acme/all-MiniLM-L6-v2"]
    assert nearest_first("cosin", known, {"acme/all-MiniLM-L6-v2": ("cosine",)}) == ["cosine", "acme/other"]
    assert nearest_first("all-minilm", known, {"acme/all-MiniLM-L6-v2": ("cosine",)})[0] == "acme/all-MiniLM-L6-v2"
