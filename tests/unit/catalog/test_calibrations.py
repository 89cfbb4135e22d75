from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from rerank.calibration import Beta, Calibration, Cubic, Curve, Isotonic, Method, Platt
from rerank.catalog.calibrations import (
    Calibrations,
    calibrations_folder,
    file_name,
    read_calibration,
    write_calibration,
)
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog
from rerank.errors import SettingsError

CURVES: dict[Method, Curve] = {
    "cubic": Cubic(0.1, 0.9, (0.0, 0.2, 0.3, 1.0)),
    "isotonic": Isotonic((0.0, 0.5), (0.25, 1.0)),
    "beta": Beta(1.0, 2.0, 0.5),
    "platt": Platt(3.0, -1.0),
}


def calibration(method: Method = "platt", **facts: str) -> Calibration:
    known = {"model": "acme/words", "reference": "labels", "date": "2026-11-26"} | facts
    return Calibration(method=method, curve=CURVES[method], weights="0" * 32, data="f" * 32, **known)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "calibrations" / "acme--words.json"


@pytest.mark.parametrize("method", CURVES)
def test_what_is_written_can_be_read(file: Path, method: Method) -> None:
    write_calibration(file, calibration(method))
    assert read_calibration(file) == calibration(method)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def changed(file: Path, **fields: Any) -> None:
    content = json.loads(file.read_text(encoding="utf-8")) | fields
    present = {name: value for name, value in content.items() if value is not None}
    file.write_text(json.dumps(present), encoding="utf-8")


class TestFilesThatAreRefused:
    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"method": "spline"}, "method: it has to be one of cubic, isotonic, beta, platt"),
            ({"method": None}, "method: Field required"),
            ({"weights": None}, "weights: Field required"),
            ({"weights": "weights"}, "weights: String should match"),
            ({"date": 20261126}, "date: Input should be a valid string"),
            ({"data": ""}, "data: String should match"),
            ({"colour": "red"}, "colour: Extra inputs are not permitted"),
            ({"parameters": [1, 2]}, "parameters: Input should be an object"),
            ({"parameters": {"slope": 1}}, "parameters.offset: Field required"),
            ({"parameters": {"slope": "1", "offset": 0}}, "parameters.slope: Input should be a valid number"),
            ({"parameters": {"slope": True, "offset": 0}}, "parameters.slope: Input should be a valid number"),
            ({"parameters": {"slope": float("nan"), "offset": 0}}, "parameters.slope: Input should be a finite number"),
            ({"parameters": {"slope": -1, "offset": 0}}, "parameters: `slope` has to be above 0"),
            ({"parameters": {"slope": 1, "offset": 0, "a": 1}}, "parameters.a: Unexpected keyword argument"),
        ],
    )
    def test_the_file_and_the_field_are_named(self, file: Path, fields: dict[str, Any], message: str) -> None:
        write_calibration(file, calibration())
        changed(file, **fields)
        with pytest.raises(SettingsError) as caught:
            read_calibration(file)
        assert str(caught.value).startswith(f"{file}: {message}")

    def test_a_curve_that_falls_is_refused(self, file: Path) -> None:
        write_calibration(file, calibration("isotonic"))
        changed(file, parameters={"scores": [0, 1], "relevances": [0.5, 0.4]})
        with pytest.raises(SettingsError, match=r"parameters: `relevances` must not fall"):
            read_calibration(file)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"[1", "Invalid JSON"),
            (b"[" * 100_000, "Invalid JSON: recursion limit exceeded"),
            (b"3", "Input should be an object"),
            (b"\xff", "it is not UTF-8"),
            (b" " * 1_000_001, "it is larger than 1 MB"),
        ],
    )
    def test_what_is_no_such_file_is_refused(self, file: Path, content: bytes, message: str) -> None:
        file.parent.mkdir()
        file.write_bytes(content)
        with pytest.raises(SettingsError) as caught:
            read_calibration(file)
        assert str(caught.value).startswith(f"{file}: {message}")

    def test_a_named_pipe_is_not_waited_for(self, file: Path) -> None:
        file.parent.mkdir()
        os.mkfifo(file)
        with pytest.raises(SettingsError, match="is not a regular file"):
            read_calibration(file)

    def test_one_that_is_not_there_is_named(self, file: Path) -> None:
        with pytest.raises(SettingsError, match=r"acme--words.json: cannot be read: No such file"):
            read_calibration(file)


class TestTheFolder:
    def test_it_is_next_to_the_models_folder_with_a_file_for_each_id(self, tmp_path: Path) -> None:
        assert calibrations_folder(tmp_path / "models") == tmp_path / "calibrations"
        assert file_name("BAAI/bge-reranker-base") == "BAAI--bge-reranker-base.json"
        assert file_name("plain") == "plain.json"

    def test_none_means_no_calibrations(self, tmp_path: Path) -> None:
        found = Calibrations.read(tmp_path / "calibrations", [])
        assert found.of(ModelCard("acme/words", calibration="auto")) is None

    def test_a_model_has_the_file_of_its_id_whether_or_not_its_card_says_so(self, file: Path) -> None:
        write_calibration(file, calibration())
        found = Calibrations.read(file.parent, [])
        assert found.of(ModelCard("acme/words", calibration="auto")) == calibration()
        assert found.of(ModelCard("acme/words")) == calibration()
        assert found.of(ModelCard("acme/words2")) is None

    def test_a_card_with_a_path_has_that_file_and_no_other(self, file: Path, tmp_path: Path) -> None:
        write_calibration(file, calibration())
        elsewhere = tmp_path / "elsewhere.json"
        write_calibration(elsewhere, calibration("beta"))
        card = ModelCard("acme/words", calibration=elsewhere)
        assert Calibrations.read(file.parent, [card]).of(card) == calibration("beta")

    def test_it_may_not_be_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "calibrations").write_text("")
        with pytest.raises(SettingsError, match=r"calibrations: cannot be read: Not a directory"):
            Calibrations.read(tmp_path / "calibrations", [])

    def test_too_many_files_are_refused_before_any_is_read(self, file: Path) -> None:
        file.parent.mkdir()
        for number in range(1001):
            (file.parent / f"{number}.json").touch()
        with pytest.raises(SettingsError, match="it holds 1001 files; at most 1000 are read"):
            Calibrations.read(file.parent, [])


class TestCards:
    @pytest.fixture
    def models_file(self, tmp_path: Path) -> Path:
        return tmp_path / "models.toml"

    def open_catalog(self, models_file: Path, text: str) -> Catalog:
        models_file.write_text(f'[[model]]\nid = "acme/words"\n{text}\n', encoding="utf-8")
        return Catalog.open(models_file.parent / "models", models_file)

    def test_auto_is_the_file_in_the_folder(self, models_file: Path, file: Path) -> None:
        write_calibration(file, calibration())
        catalog = self.open_catalog(models_file, 'calibration = "auto"')
        assert catalog.calibration(catalog.resolve("words")) == calibration()

    def test_auto_without_a_file_is_none(self, models_file: Path) -> None:
        catalog = self.open_catalog(models_file, 'calibration = "auto"')
        assert catalog.calibration(catalog.resolve("words")) is None

    def test_a_path_starts_at_the_models_file(self, models_file: Path) -> None:
        write_calibration(models_file.parent / "own" / "words.json", calibration("cubic"))
        catalog = self.open_catalog(models_file, 'calibration = "own/words.json"')
        assert catalog.calibration(catalog.resolve("words")) == calibration("cubic")

    def test_a_path_without_a_file_is_refused(self, models_file: Path) -> None:
        with pytest.raises(SettingsError, match=r"own/words.json: cannot be read"):
            self.open_catalog(models_file, 'calibration = "own/words.json"')

    def test_it_has_no_place_on_a_route(self, models_file: Path) -> None:
        with pytest.raises(SettingsError, match="`calibration` means nothing next to `fallback`"):
            self.open_catalog(models_file, 'fallback = ["lexical"]\ncalibration = "auto"')

    def test_a_reload_reads_it_again_and_a_broken_one_changes_nothing(self, models_file: Path, file: Path) -> None:
        write_calibration(file, calibration())
        catalog = self.open_catalog(models_file, 'calibration = "auto"')
        card = catalog.resolve("words")
        write_calibration(file, calibration("beta"))
        assert catalog.calibration(card) == calibration()
        catalog.reload()
        assert catalog.calibration(card) == calibration("beta")
        changed(file, method="spline")
        with pytest.raises(SettingsError, match="method"):
            catalog.reload()
        assert catalog.calibration(card) == calibration("beta")
