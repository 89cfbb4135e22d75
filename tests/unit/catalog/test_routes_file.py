from __future__ import annotations

from pathlib import Path

import pytest

from rerank.catalog.models_file import read_models_file
from rerank.catalog.routes import CascadeStage, Ensemble, Fallback, Route, kind_of, members_of
from rerank.errors import SettingsError

CARD = '[[model]]\nid = "acme/route"\n'


def route_of(folder: Path, text: str) -> Route | None:
    path = folder / "models.toml"
    path.write_text(CARD + text, encoding="utf-8")
    (card,) = read_models_file(path)
    return card.route


@pytest.mark.parametrize(
    ("text", "route"),
    [
        ('fallback = ["a", "b"]', Fallback(("a", "b"))),
        ('fallback = { models = ["a", "b"], share = 0.25 }', Fallback(("a", "b"), 0.25)),
        (
            'cascade = [{ model = "a", keep = 30 }, { model = "b", keep = "1.5x" }, { model = "c" }]',
            (CascadeStage("a", 30), CascadeStage("b", 1.5), CascadeStage("c")),
        ),
        ('ensemble = { models = ["a", "b"] }', Ensemble(("a", "b"))),
        (
            'ensemble = { models = ["a", "b"], fusion = "weighted", weights = [1, 0.5], missing = "degrade" }',
            Ensemble(("a", "b"), "weighted", (1.0, 0.5), "degrade"),
        ),
    ],
)
def test_a_route_is_read(tmp_path: Path, text: str, route: Route) -> None:
    assert route_of(tmp_path, text) == route


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fallback = []", "fallback.models"),
        ('fallback = { models = ["a"], share = 1 }', "fallback.share"),
        ('fallback = { models = ["a"], patience = 1 }', "fallback.patience"),
        ('cascade = [{ model = "a", keep = 1 }]', "cascade: Tuple should have at least 2"),
        (
            'cascade = [{ model = "a", keep = 0 }, { model = "b" }]',
            "cascade.0.keep: it has to be a number",
        ),
        ('cascade = [{ model = "a", keep = "0x" }, { model = "b" }]', "cascade.0.keep"),
        ('cascade = [{ model = "a", keep = "manyx" }, { model = "b" }]', "cascade.0.keep"),
        ('cascade = [{ model = "a", keep = true }, { model = "b" }]', "cascade.0.keep"),
        ('cascade = [{ model = "a" }, { model = "b" }]', "the stage 'a' of the cascade needs `keep`"),
        ('cascade = [{ model = "a", keep = 2 }, { model = "b", keep = 2 }]', "`keep` of the last stage"),
        ('ensemble = { models = ["a", "b"], weights = [1, 1] }', "`weights` go together"),
        ('ensemble = { models = ["a", "b"], fusion = "weighted" }', "`weights` go together"),
        ('ensemble = { models = ["a", "b"], fusion = "weighted", weights = [1] }', "`weights` are 2 numbers"),
        ('ensemble = { models = ["a", "b"], fusion = "weighted", weights = [0, 0] }', "not all 0"),
        ('ensemble = { models = ["a", "b"], fusion = "weighted", weights = [1, nan] }', "ensemble.weights.1"),
        ('ensemble = { models = ["a", "b"], fusion = "median" }', "ensemble.fusion"),
        ('fallback = ["a"]\nensemble = { models = ["b"] }', "give one of `fallback`, `ensemble`"),
        ('fallback = ["a"]\nrepo = "x/y"', "`repo` means nothing next to `fallback`"),
        ("max_candidates = 0", "max_candidates"),
        ('long_documents = "read"', "long_documents"),
    ],
)
def test_a_mistake_names_card_and_field(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        route_of(tmp_path, text)
    assert message in str(caught.value)
    assert "(card acme/route)" in str(caught.value)


@pytest.mark.parametrize(
    ("route", "kind"),
    [
        (Fallback(("a", "b")), "fallback"),
        ((CascadeStage("a", 1), CascadeStage("b")), "cascade"),
        (Ensemble(("a", "b")), "ensemble"),
    ],
)
def test_a_route_has_a_kind_and_members(route: Route, kind: str) -> None:
    assert (kind_of(route), members_of(route)) == (kind, ("a", "b"))
