from __future__ import annotations

import asyncio

import pytest

from rerank.errors import Overloaded, ServerStopping
from rerank.gateway.admission import Admission


@pytest.fixture
def admission() -> Admission:
    return Admission(max_documents=10)


def in_work(admission: Admission) -> tuple[int, int]:
    return admission.documents, admission.requests


def test_counts_what_is_in_work(admission: Admission) -> None:
    with admission.admit(4), admission.admit(6):
        assert in_work(admission) == (10, 2)
    assert in_work(admission) == (0, 0)


def test_a_request_alone_in_the_house_is_let_in_however_large(admission: Admission) -> None:
    with admission.admit(1000):
        assert in_work(admission) == (1000, 1)


def test_beyond_the_limit_a_second_request_is_sent_away(admission: Admission) -> None:
    with admission.admit(4):
        with pytest.raises(Overloaded) as refusal, admission.admit(7):
            pytest.fail("was let in")
        assert in_work(admission) == (4, 1)
    assert refusal.value.retryable
    assert refusal.value.retry_after == 1
    assert "4 documents are in work, at most 10" in refusal.value.message


def test_room_is_given_back_when_the_request_fails(admission: Admission) -> None:
    with pytest.raises(KeyError), admission.admit(10):
        raise KeyError("failed")
    assert in_work(admission) == (0, 0)
    with admission.admit(10):
        assert in_work(admission) == (10, 1)


async def test_once_closed_nobody_is_let_in_and_who_is_in_ends(admission: Admission) -> None:
    with admission.admit(1):
        admission.close()
        drained = asyncio.ensure_future(admission.drained())
        with pytest.raises(ServerStopping), admission.admit(1):
            pass
        await asyncio.sleep(0)
        assert not drained.done()
    await drained


async def test_an_empty_house_is_drained(admission: Admission) -> None:
    admission.close()
    await admission.drained()
