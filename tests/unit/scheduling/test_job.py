from __future__ import annotations

import math

from rerank.scheduling.job import Job

from .scorers import Echo, Piece, job_of, pieces


def test_without_pairs_it_is_done_at_once() -> None:
    assert job_of([]).future.result(0) == []


def test_ends_with_its_last_pair_and_not_before() -> None:
    job = job_of([1, 1])
    job.resolve(1, 0.5)
    assert not job.future.done()
    job.resolve(0, -0.5)
    assert job.future.result(0) == [-0.5, 0.5]


def test_an_answer_after_the_caller_left_is_dropped() -> None:
    job = job_of([1])
    job.future.cancel()
    job.resolve(0, 1.0)
    assert job.future.cancelled()


def test_keeps_its_first_end() -> None:
    job = job_of([1])
    job.resolve(0, 1.0)
    job.fail(RuntimeError("too late"))
    assert job.future.result(0) == [1.0]


def test_has_nothing_waiting_once_it_failed() -> None:
    job = job_of([1, 1])
    assert job.waiting == 2
    job.fail(RuntimeError("failed"))
    assert job.waiting == 0


def test_hands_out_neighbours_and_counts_their_tokens() -> None:
    job = job_of([3, 9, 5])
    assert [slot.place for slot in job.take(start=1, count=2)] == [2, 0]
    assert (job.waiting, list(job.lengths), job.waiting_tokens, job.taken) == (1, [9], 9, False)
    job.take(start=0, count=1)
    assert (job.waiting, job.waiting_tokens, job.taken) == (0, 0, True)


class TestUntilAMoment:
    def test_pairs_are_taken_in_request_order(self) -> None:
        job = job_of([3, 9, 5], until=math.inf)
        assert (job.ordered, list(job.lengths)) == (True, [3, 9, 5])
        assert [slot.place for slot in job.take(start=0, count=2)] == [0, 1]

    def test_a_pair_that_does_not_fit_keeps_the_later_ones_back(self) -> None:
        job = job_of([3, 9, 5], until=math.inf)
        assert [job.first_within(tokens) for tokens in (2, 3, 9)] == [3, 0, 0]

    def test_alike_pairs_end_at_the_first_other_one(self) -> None:
        job = job_of([4, 6, 5, 7, 5], until=math.inf)
        assert [job.alike(0, *limits) for limits in ((4, 6), (5, 6), (4, 7), (0, 4), (0, 3))] == [3, 0, 5, 1, 0]

    def test_ends_once_it_is_complete_and_not_before(self) -> None:
        job = Job((Echo(),), pieces(1), until=math.inf)
        job.resolve(0, 0.5)
        assert not job.future.done()
        job.complete()
        assert job.future.result(0) == [0.5]

    def test_without_pairs_it_is_done_once_it_is_complete(self) -> None:
        job = Job((Echo(),), (), until=math.inf)
        assert not job.future.done()
        job.complete()
        assert job.future.result(0) == []

    def test_further_pairs_follow_those_it_has(self) -> None:
        job = Job((Echo(),), pieces(2, tokens=7), until=math.inf)
        job.take(start=0, count=1)
        job.extend([Piece(9), Piece(3)])
        assert (job.waiting, job.waiting_tokens, list(job.lengths)) == (3, 19, [7, 9, 3])
        assert [(slot.place, slot.pair.tokens) for slot in job.take(start=0, count=3)] == [(1, 7), (2, 9), (3, 3)]
        assert (job.taken, job.waiting_tokens) == (True, 0)

    def test_no_longer_waits_for_pairs_that_it_gave_up(self) -> None:
        job = job_of([3, 9, 5], until=1.0)
        (begun,) = job.take(start=0, count=1)
        job.expire()
        assert (job.waiting, job.waiting_tokens, job.taken, job.future.done()) == (0, 0, True, False)
        job.resolve(begun.place, 0.5)
        assert job.future.result(0) == [0.5, None, None]

    def test_ends_at_once_if_it_gives_up_all_that_is_left(self) -> None:
        job = job_of([3, 9], until=1.0)
        job.expire()
        job.expire()
        assert job.future.result(0) == [None, None]


def test_alike_pairs_are_those_of_similar_length() -> None:
    job = job_of([9, 4, 6, 8, 3])
    assert [job.alike(job.first_within(longest), shortest, longest) for shortest, longest in ((4, 8), (5, 9))] == [3, 3]
