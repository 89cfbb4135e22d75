"""The answer that the quick start prints is the one that the READMEs show."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

import rerank
from tests.support.whole import whole_server

ROOT = Path(rerank.__file__).parents[1]
READMES = ["README.md", "README.zh-CN.md"]


@pytest.fixture(scope="module")
def server(converted: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with whole_server(tmp_path_factory.mktemp("readme")) as url:
        yield url


def block(readme: str, holds: str) -> str:
    """The only block of code that holds a text."""
    found = re.findall(r"```\w*\n(.*?)```", (ROOT / readme).read_text("utf-8"), re.DOTALL)
    (only,) = (each for each in found if holds in each)
    return str(only)


@pytest.mark.parametrize("readme", READMES)
def test_the_quick_start_prints_the_answer_that_the_readme_shows(readme: str, server: str) -> None:
    command, printed = block(readme, "curl"), block(readme, '"results"')
    body = json.loads(re.findall(r"-d '(.*)'", command, re.DOTALL)[0])
    answer = requests.post(f"{server}/v1/rerank", json=body, timeout=300).json()
    shown = re.findall(r'"index": (\d), .*"text": "(.+?)".*"relevance_score": ([\d.]+), "tokens": (\d+)', printed)
    assert [(int(index), text, float(score), int(tokens)) for index, text, score, tokens in shown] == [
        (row["index"], row["document"]["text"], round(row["relevance_score"], 3), row["tokens"])
        for row in answer["results"]
    ]
    assert f'"model": "{answer["model"]}", "usage": {json.dumps(answer["usage"])}' in printed
    assert re.findall(r'^ ?{?"(\w+)"', printed, re.MULTILINE) == ["id", "results", "object"]
    assert '"degraded": false, "partial": false' in printed
