"""`rerank serve --help`: the settings as options."""

from __future__ import annotations

import re

import pytest

from rerank.cli.main import main
from rerank.settings import GROUPS, Settings, setting_names


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["serve", "--help"]) == 0
    return capsys.readouterr().out


def options(text: str) -> list[str]:
    return re.findall(r"^  (--[a-z-]+)", text, flags=re.MULTILINE)


def test_help_shows_every_setting_once(shown: str) -> None:
    current = [field for field, info in Settings.model_fields.items() if not info.deprecated]
    names = [setting_names()[field][0].removeprefix("RERANK_").lower().replace("_", "-") for field in current]
    assert sorted(options(shown)) == sorted([*(f"--{name}" for name in names), "--help"])


def test_help_explains_every_setting(shown: str) -> None:
    # a line may be broken after any hyphen
    told = "".join(shown.split())
    for info in Settings.model_fields.values():
        assert info.description
        assert info.deprecated or "".join(info.description.split()) in told


def test_help_begins_with_the_ten_settings_that_most_people_need(shown: str) -> None:
    first = shown.split("\nOptions:\n")[1].split("\n\n")[0]
    assert options(first) == [
        "--host",
        "--port",
        "--api-key",
        "--default-model",
        "--preload",
        "--models-dir",
        "--model-device",
        "--model-precision",
        "--memory-budget",
        "--hf-endpoint",
        "--help",
    ]


def test_help_shows_the_others_in_groups(shown: str) -> None:
    headings = re.findall(r"^(\w.*):$", shown, flags=re.MULTILINE)
    assert headings == ["Options", *(group.__doc__ for group in GROUPS)]


def test_every_setting_is_in_one_group() -> None:
    grouped = [field for group in GROUPS for field in group.__annotations__]
    assert sorted(grouped) == sorted(Settings.model_fields)


def test_an_unknown_option_is_refused_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--prot", "80"]) == 2
    assert "No such option: --prot" in capsys.readouterr().err


def test_an_option_overrides_the_environment_under_every_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RERANK_PORT", "8001")
    assert main(["serve", "--port", "http"]) == 2
    assert capsys.readouterr().err.endswith("(got 'http')\n")
