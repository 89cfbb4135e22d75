from __future__ import annotations

import pytest

from rerank.access.allowance import requests_used_up, tokens_used_up
from rerank.core import Caller

CALLER = Caller("chat", requests_per_minute=5, tokens_per_minute=600)


@pytest.mark.parametrize(("seconds", "wait"), [(0.2, 1.0), (1.0, 1.0), (17.5, 17.5), (60.0, 60.0), (99.0, 60.0)])
def test_a_key_without_requests_left_waits_for_the_oldest_one_to_leave_the_minute(seconds: float, wait: float) -> None:
    error = requests_used_up(CALLER, seconds)
    assert str(error) == "The key chat has used up its 5 requests a minute. Try again later."
    assert error.retry_after == wait


@pytest.mark.parametrize(("missing", "wait"), [(1, 1.0), (150, 15.0), (600, 60.0), (6000, 60.0)])
def test_a_key_without_tokens_left_waits_for_its_share_of_the_minute(missing: int, wait: float) -> None:
    error = tokens_used_up(CALLER, missing)
    assert str(error) == "The key chat has used up its 600 tokens a minute. Try again later."
    assert error.retry_after == wait
