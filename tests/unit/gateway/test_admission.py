from __future__ import annotations

import asyncio
from contextlib import ExitStack, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.errors import Overloaded, ServerStopping
from rerank.gateway.admission import Admission, Elsewhere, Work
from rerank.shared_state.names import hashed
from tests.support.clock import Clock


def work(documents: int) -> Work:
    return Work(documents, tokens=10 * documents)


@pytest.fixture
def admission() -> Admission:
    return Admission(Work(10, 1000))


def in_flight(admission: Admission) -> tuple[int, int]:
    return admission.in_flight.documents, admission.requests


def test_counts_what_is_in_flight(admission: Admission) -> None:
    with admission.admit(work(4)), admission.admit(work(6)):
        assert in_flight(admission) == (10, 2)
    assert in_flight(admission) == (0, 0)


def test_a_request_alone_on_the_server_is_admitted_however_large(admission: Admission) -> None:
    with admission.admit(work(1000)):
        assert in_flight(admission) == (1000, 1)


def test_beyond_the_limit_a_second_request_is_sent_away(admission: Admission) -> None:
    with admission.admit(work(4)):
        with pytest.raises(Overloaded) as refusal, admission.admit(work(7)):
            pytest.fail("was let in")
        assert in_flight(admission) == (4, 1)
    assert refusal.value.retry_after == 1
    assert "4 documents are in flight (maximum 10)" in refusal.value.message


def test_room_is_given_back_when_the_request_fails(admission: Admission) -> None:
    with pytest.raises(KeyError), admission.admit(work(10)):
        raise KeyError("failed")
    assert in_flight(admission) == (0, 0)
    with admission.admit(work(10)):
        assert in_flight(admission) == (10, 1)


async def test_once_closed_no_request_is_admitted_and_admitted_ones_end(admission: Admission) -> None:
    with admission.admit(work(1)):
        admission.close()
        drained = asyncio.ensure_future(admission.drained())
        with pytest.raises(ServerStopping), admission.admit(work(1)):
            pass
        await asyncio.sleep(0)
        assert not drained.done()
    await drained


@pytest.mark.parametrize("waiting", [False, True])
async def test_requests_without_documents_overlap_and_end(admission: Admission, waiting: bool) -> None:
    with admission.admit(Work(), waiting=waiting) as first, admission.admit(Work(), waiting=waiting) as second:
        first.begin()
        second.begin()
    assert admission.requests == 0
    admission.close()
    await asyncio.wait_for(admission.drained(), 10)


async def test_an_idle_server_is_drained(admission: Admission) -> None:
    admission.close()
    await admission.drained()


def after_some_work(max_documents: int, rate: int) -> tuple[Admission, Clock]:
    """An admission that has seen three requests of ``rate`` documents, of a second each."""
    clock = Clock()
    admission = Admission(Work(max_documents, 100_000), clock)
    for _ in range(3):
        with admission.admit(work(rate)) as place:
            place.begin()
            clock.now += 1.0
            place.done()
    return admission, clock


@pytest.mark.parametrize(("asked", "retry_after"), [(60, 1.0), (100, 5.0), (1000, 60.0)])
def test_retry_after_is_how_long_the_excess_takes(asked: int, retry_after: float) -> None:
    admission, _ = after_some_work(100, 10)
    with admission.admit(work(50)), pytest.raises(Overloaded) as refusal, admission.admit(work(asked)):
        pass
    assert refusal.value.retry_after == retry_after


def test_a_deadline_that_cannot_be_met_is_refused_at_once() -> None:
    admission, _ = after_some_work(1000, 10)
    with admission.admit(work(100)):
        with pytest.raises(Overloaded) as refusal, admission.admit(work(50), within=9.0):
            pass
        assert refusal.value.message == (
            "At the present rate the request would take 10.0 s, but has 9 s. Send fewer documents, or try again later."
        )
        assert refusal.value.retry_after == 10.0
        with admission.admit(work(50), within=10.0):
            assert admission.requests == 2


def test_a_short_request_does_not_wait_for_the_end_of_a_long_one() -> None:
    admission, _ = after_some_work(10_000, 10)
    with admission.admit(work(5000)), admission.admit(work(5), within=1.0):
        assert admission.requests == 2


def test_a_short_request_waits_for_a_turn_of_each_request_in_flight() -> None:
    admission, _ = after_some_work(10_000, 10)
    with admission.admit(work(1000)), admission.admit(work(1000)):
        with pytest.raises(Overloaded, match=r"the request would take 1\.5 s"), admission.admit(work(5), within=1.4):
            pass
        with admission.admit(work(5), within=1.5):
            assert admission.requests == 3


def test_work_on_a_model_in_memory_counts_from_its_admission() -> None:
    clock = Clock()
    admission = Admission(Work(100, 100_000), clock)
    for _ in range(3):
        with admission.admit(work(10)) as place:
            clock.now += 1.0
            place.done()
    with pytest.raises(Overloaded, match=r"the request would take 10\.0 s"), admission.admit(work(100), within=9.0):
        pass


def test_work_that_waited_for_a_model_counts_from_its_beginning() -> None:
    clock = Clock()
    admission = Admission(Work(100, 100_000), clock)
    for _ in range(3):
        with admission.admit(work(10), waiting=True) as place:
            clock.now += 5.0
            place.begin()
            clock.now += 1.0
            place.done()
    with pytest.raises(Overloaded, match=r"the request would take 10\.0 s"), admission.admit(work(100), within=9.0):
        pass


def test_work_of_other_servers_says_nothing_of_this_ones_devices() -> None:
    admission, clock = after_some_work(1000, 10)
    for _ in range(3):
        with admission.admit(work(1), local=False) as place:
            clock.now += 5.0
            place.done()
    with ExitStack() as elsewhere:
        for _ in range(9):
            elsewhere.enter_context(admission.admit(work(50), local=False))
        with admission.admit(work(50), within=5.0):
            assert admission.requests == 10


def test_work_of_other_servers_is_not_refused_by_the_rate_of_this_ones_devices() -> None:
    admission, _ = after_some_work(1000, 10)
    with admission.admit(work(500), within=1.0, local=False):
        assert admission.requests == 1


def test_without_a_rate_every_deadline_is_let_in() -> None:
    with Admission(Work(10, 1000)).admit(work(5), within=0.001):
        pass


class TestTokens:
    def test_tokens_are_limited(self) -> None:
        admission = Admission(Work(1000, 100))
        with (
            admission.admit(Work(1, 60)),
            pytest.raises(Overloaded, match=r"about 60 tokens are in flight \(maximum 100\)"),
            admission.admit(Work(1, 41)),
        ):
            pass

    def test_tokens_of_a_request_alone_are_not_limited(self) -> None:
        with Admission(Work(10, 100)).admit(Work(1, 10_000)):
            pass


class TestBytes:
    def test_bytes_are_limited(self) -> None:
        admission = Admission(Work(1000, 1000, 100))
        with (
            admission.admit(Work(1, 1, 60)),
            pytest.raises(Overloaded, match=r"60 bytes of texts are in flight \(maximum 100\)"),
            admission.admit(Work(1, 1, 41)),
        ):
            pass

    def test_bytes_of_one_caller_keep_no_other_out(self) -> None:
        admission = Admission(Work(1000, 1000, 100))
        with admission.admit(Work(1, 1, 100), caller="flood"), admission.admit(Work(1, 1, 50), caller="trickle"):
            assert admission.in_flight == Work(2, 2, 150)
        assert admission.in_flight == Work()

    def test_bytes_beyond_the_limit_are_refused_where_none_are_in_flight(self) -> None:
        admission = Admission(Work(1000, 1000, 100))
        with (
            admission.admit(Work(1, 1, 0)),
            pytest.raises(Overloaded, match="0 bytes of texts are in flight") as refusal,
            admission.admit(Work(1, 1, 101)),
        ):
            pass
        assert refusal.value.retry_after == 1.0


@given(*[st.builds(Work, *[st.integers(0, 10**9)] * 3)] * 2)
def test_work_that_is_added_can_be_taken_away(first: Work, second: Work) -> None:
    assert first + second - second == first


def test_a_request_that_leaves_before_its_model_is_loaded_takes_nothing_with_it(admission: Admission) -> None:
    with admission.admit(work(4), waiting=True), admission.admit(work(3)):
        assert (admission.waiting, admission.in_flight) == (work(4), work(3))
    assert (admission.waiting, admission.in_flight) == (Work(), Work())


class TestCallers:
    def test_a_caller_that_used_all_capacity_does_not_lock_another_out(self, admission: Admission) -> None:
        with admission.admit(work(10), caller="flood"):
            with pytest.raises(Overloaded), admission.admit(work(1), caller="flood"):
                pass
            with admission.admit(work(3), caller="trickle"), admission.admit(work(2), caller="trickle"):
                assert admission.in_flight.documents == 15
                with pytest.raises(Overloaded), admission.admit(work(1), caller="trickle"):
                    pass

    def test_a_caller_waiting_for_a_model_does_not_lock_another_out(self, admission: Admission) -> None:
        with (
            admission.admit(work(10), caller="flood", waiting=True),
            admission.admit(work(5), caller="trickle", waiting=True),
        ):
            assert admission.waiting.documents == 15

    def test_a_caller_that_has_left_takes_no_share_of_the_next(self, admission: Admission) -> None:
        with admission.admit(work(1), caller="gone", waiting=True) as place:
            place.begin()
        with admission.admit(work(10), caller="flood"), admission.admit(work(5), caller="trickle"):
            assert admission.in_flight.documents == 15

    def test_a_caller_whose_model_is_loaded_takes_no_share_of_the_waiting(self, admission: Admission) -> None:
        with admission.admit(work(1), caller="loaded", waiting=True) as place:
            place.begin()
            assert (admission.waiting, admission.in_flight) == (Work(), work(1))
            with (
                admission.admit(work(10), caller="flood", waiting=True),
                admission.admit(work(5), caller="trickle", waiting=True),
            ):
                assert admission.waiting.documents == 15

    def test_a_caller_whose_work_begins_has_a_share_of_the_work(self, admission: Admission) -> None:
        with admission.admit(work(10), caller="flood", waiting=True) as place:
            place.begin()
            with pytest.raises(Overloaded), admission.admit(work(1), caller="flood"):
                pass

    def test_callers_beyond_their_share_wait_for_no_model(self, admission: Admission) -> None:
        with (
            admission.admit(work(4), waiting=True),
            pytest.raises(Overloaded) as refusal,
            admission.admit(work(7), waiting=True),
        ):
            pass
        assert refusal.value.message == (
            "The server is busy: 4 documents wait for a model to load (maximum 10). Try again shortly."
        )

    def test_callers_beyond_their_share_are_let_in_up_to_the_limit(self, admission: Admission) -> None:
        with admission.admit(work(3), caller="a"), admission.admit(work(7), caller="b"):
            assert admission.in_flight.documents == 10

    def test_a_caller_that_is_gone_takes_no_share(self, admission: Admission) -> None:
        with admission.admit(work(1), caller="gone"):
            pass
        with admission.admit(work(6), caller="a"), admission.admit(work(4), caller="a"):
            assert admission.in_flight.documents == 10

    def test_callers_together_have_at_most_twice_the_room(self) -> None:
        admission = Admission(Work(100, 100_000))
        with ExitStack() as app:
            app.enter_context(admission.admit(work(100), caller="first"))
            for number in range(200):
                with suppress(Overloaded):
                    app.enter_context(admission.admit(work(1), caller=f"caller-{number % 20}"))
            assert 100 < admission.in_flight.documents < 200


@pytest.mark.parametrize(
    ("taken", "asked", "spare"),
    [
        (Work(), Work(5, 500), True),
        (Work(), Work(6, 10), False),
        (Work(), Work(1, 501), False),
        (Work(3, 300), Work(2, 200), True),
        (Work(3, 300), Work(3, 200), False),
        (Work(), Work(1, 10, bytes=10**9), True),
    ],
    ids=["half", "many documents", "many tokens", "half with others", "more with others", "bytes have no limit"],
)
def test_what_is_spare_is_half_of_each_capacity(admission: Admission, taken: Work, asked: Work, spare: bool) -> None:
    with admission.admit(taken):
        assert admission.has_spare(asked) is spare


def test_nothing_is_spare_once_closed(admission: Admission) -> None:
    assert admission.has_spare(work(1))
    admission.close()
    assert not admission.has_spare(work(1))


class TestOtherServers:
    """Ten documents fit; another caller has eight in flight here, so that three more are over the limit."""

    @pytest.mark.parametrize(
        ("elsewhere", "documents", "admitted"),
        [
            ({}, 3, True),
            ({"asks": 10}, 3, False),
            ({"greedy": 10}, 4, True),
            ({"greedy": 10, "asks": 4}, 4, False),
        ],
        ids=["nothing there", "its whole share there", "another's there", "too much together"],
    )
    def test_a_callers_share_is_that_of_all_servers(
        self, admission: Admission, elsewhere: dict[str, int], documents: int, admitted: bool
    ) -> None:
        admission.elsewhere = Elsewhere(1, {hashed(name): Work(count) for name, count in elsewhere.items()})
        with admission.admit(Work(8), caller="here"), ExitStack() as stack:
            asked = admission.admit(Work(documents), caller="asks")
            if admitted:
                stack.enter_context(asked)
            else:
                with pytest.raises(Overloaded):
                    stack.enter_context(asked)

    def test_those_that_wait_for_a_load_have_shares_of_this_server_alone(self, admission: Admission) -> None:
        admission.elsewhere = Elsewhere(1, {hashed("asks"): Work(10)})
        with (
            admission.admit(Work(8), caller="here", waiting=True),
            admission.admit(Work(3), caller="asks", waiting=True),
        ):
            assert admission.waiting == Work(11)


def test_tokens_are_those_of_the_models_that_requests_begin_with(admission: Admission) -> None:
    with admission.admit(Work(1, 11), models=["a", "b", "c"]):
        assert admission.tokens_of_models == {"a": 4, "b": 4, "c": 3}
        with admission.admit(Work(1, 5), models=["a", "a"]):
            assert admission.tokens_of_models == {"a": 9, "b": 4, "c": 3}
    assert admission.tokens_of_models == {}
