from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from rerank.evaluation.plots import scatter

NAMES = ("ours", "theirs")
_USE = "{http://www.w3.org/2000/svg}use"
_IMAGE = "{http://www.w3.org/2000/svg}image"


def draw(file: Path, number: int = 30, names: tuple[str, str] = NAMES) -> Path:
    scores = [place / number for place in range(number)]
    scatter(scores, [score**2 for score in scores], names, "Pearson 0.97", file)
    return file


def test_a_picture_of_vectors(tmp_path: Path) -> None:
    text = draw(tmp_path / "scores.svg").read_text(encoding="utf-8")
    assert all(word in text for word in ("ours", "theirs", "Pearson 0.97"))
    points = [use for use in ElementTree.fromstring(text).iter(_USE) if "fill-opacity" in use.get("style", "")]
    assert len(points) == 30


def test_the_axes_are_as_wide_as_the_points(tmp_path: Path) -> None:
    file = tmp_path / "scores.svg"
    scatter([-8.0, -7.0, -6.5], [41.0, 45.0, 49.0], NAMES, "logits", file)
    root = ElementTree.parse(file).getroot()
    points = [use for use in root.iter(_USE) if "fill-opacity" in use.get("style", "")]
    places = [(float(use.get("x", "nan")), float(use.get("y", "nan"))) for use in points]
    width = float(root.get("viewBox", "").split()[2])
    assert len(places) == 3
    # on both sides of the middle, and nearly from border to border
    for axis in zip(*places, strict=True):
        assert 0 < min(axis) < width / 2 < max(axis) < width


def test_a_picture_of_dots(tmp_path: Path) -> None:
    assert draw(tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")


def test_many_points_are_one_image(tmp_path: Path) -> None:
    file = draw(tmp_path / "scores.svg", number=6_000)
    assert len([*ElementTree.parse(file).iter(_IMAGE)]) == 1
    assert file.stat().st_size < 500_000


def test_the_same_scores_give_the_same_file(tmp_path: Path) -> None:
    assert draw(tmp_path / "one.svg").read_bytes() == draw(tmp_path / "other.svg").read_bytes()


@pytest.mark.parametrize("name", ["a$b$c", "模型"])
def test_names_are_text(tmp_path: Path, name: str) -> None:
    assert name in draw(tmp_path / "scores.svg", names=(name, "theirs")).read_text(encoding="utf-8")
