from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Container, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.scheduling.batching import BatchBudget, pack
from rerank.scheduling.job import Job, Slot
from rerank.scheduling.job_queue import JobQueue

from .scorers import Echo, job_of

CROWDS = st.lists(st.lists(st.integers(1, 600), min_size=1, max_size=30), min_size=1, max_size=6)
BUDGETS = st.builds(BatchBudget, pairs=st.integers(1, 8), tokens=st.integers(0, 2000))
ORDERED = st.sets(st.integers(0, 5))
"""Jobs that are scored in request order, by number."""
ROOMY = BatchBudget(pairs=32, tokens=16384)


def lengths(batch: Sequence[Slot]) -> list[int]:
    return [slot.pair.tokens for slot in batch]


def cost(batch: Sequence[Slot], *, padded: bool) -> int:
    return len(batch) * max(lengths(batch)) if padded else sum(lengths(batch))


def crowd(lengths_of_jobs: Sequence[Sequence[int]], ordered: Container[int] = ()) -> list[Job]:
    return [job_of(own, until=math.inf if number in ordered else None) for number, own in enumerate(lengths_of_jobs)]


def fits(own: Sequence[int], longest: int, budget: BatchBudget) -> bool:
    """True for a job too small to fill a batch."""
    return len(own) < budget.pairs and (len(own) + 1) * longest <= budget.tokens and sum(own) < budget.tokens


class TestPadded:
    def test_a_batch_is_the_longest_pairs_of_the_first_job(self) -> None:
        assert lengths(pack([job_of([7, 9, 8])], BatchBudget(2, 100), padded=True)) == [9, 8]

    def test_equally_long_pairs_leave_in_request_order(self) -> None:
        assert [slot.place for slot in pack([job_of([7, 7, 7])], ROOMY, padded=True)] == [0, 1, 2]

    @pytest.mark.parametrize(("longest", "shortest"), [(99, 66), (100, 67), (101, 68)])
    def test_what_is_less_than_two_thirds_as_long_waits_for_its_like(self, longest: int, shortest: int) -> None:
        job = job_of([longest, shortest, shortest - 1, 10])
        assert lengths(pack([job], ROOMY, padded=True)) == [longest, shortest]
        assert lengths(pack([job], ROOMY, padded=True)) == [shortest - 1]

    def test_pairs_of_other_jobs_fill_the_batch_the_nearest_in_length_first(self) -> None:
        batch = pack([job_of([100]), job_of([300, 200, 90, 80, 70])], BatchBudget(6, 1000), padded=True)
        assert lengths(batch) == [100, 90, 80, 70]

    @pytest.mark.parametrize(
        ("length", "budget", "taken"),
        [
            (10, BatchBudget(2, 1000, quick_tokens=50), 5),
            (30, BatchBudget(2, 1000, quick_tokens=50), 2),
            (10, BatchBudget(2, 40, quick_tokens=50), 4),
            (10, BatchBudget(2, 1000, quick_tokens=50).at_most(30), 3),
            (1, BatchBudget(2, 1000, quick_tokens=500), 64),
            (60, BatchBudget(2, 40, quick_tokens=50), 1),
        ],
    )
    def test_a_batch_that_is_computed_quickly_may_have_more_pairs(
        self, length: int, budget: BatchBudget, taken: int
    ) -> None:
        assert len(pack([job_of([length] * 100)], budget, padded=True)) == taken

    def test_a_job_in_request_order_fills_its_batch_with_any_lengths(self) -> None:
        job = job_of([30, 10, 50, 20, 60, 10], until=math.inf)
        assert lengths(pack([job], BatchBudget(8, 200), padded=True)) == [30, 10, 50, 20]
        assert lengths(pack([job], BatchBudget(8, 200), padded=True)) == [60, 10]

    def test_a_job_in_request_order_joins_others_with_pairs_of_similar_length(self) -> None:
        batch = pack([job_of([100]), job_of([80, 67, 66, 90], until=math.inf)], ROOMY, padded=True)
        assert lengths(batch) == [100, 80, 67]

    def test_others_join_a_job_in_request_order_with_pairs_of_similar_length(self) -> None:
        batch = pack([job_of([10, 90], until=math.inf), job_of([100, 80, 59, 10])], ROOMY, padded=True)
        assert lengths(batch) == [10, 90, 80]

    def test_a_pair_that_is_too_long_for_the_batch_of_its_job_leaves_room_to_others(self) -> None:
        batch = pack([job_of([10, 10, 50], until=math.inf), job_of([10])], BatchBudget(8, 100), padded=True)
        assert lengths(batch) == [10, 10, 10]

    def test_pairs_that_cost_nothing_are_taken_in_request_order_too(self) -> None:
        assert lengths(pack([job_of([0, 0], until=math.inf)], ROOMY, padded=True)) == [0, 0]

    def test_padding_counts(self) -> None:
        assert lengths(pack([job_of([40, 30, 30])], BatchBudget(8, 100), padded=True)) == [40, 30]

    def test_mixed_requests_waste_less_than_a_turn_for_each_would(self) -> None:
        random_lengths = random.Random(0)
        requests = [[random_lengths.randint(20, 370) for _ in range(10)] for _ in range(20)]
        line = JobQueue()
        model = Echo()
        for request in requests:
            line.add(job_of(request, model))
        packed = 0
        while batch := line.next_batch(BatchBudget(8, 16384)):
            packed += cost(batch, padded=True)
        in_turn = [sorted(request, reverse=True)[turn] for turn in range(10) for request in requests]
        turns = sum(len(in_turn[at : at + 8]) * max(in_turn[at : at + 8]) for at in range(0, len(in_turn), 8))
        assert packed <= turns


class TestPacked:
    def test_every_length_goes_with_every_other(self) -> None:
        assert lengths(pack([job_of([100, 1, 60])], ROOMY, padded=False)) == [100, 60, 1]

    def test_each_pair_costs_its_own_tokens(self) -> None:
        assert lengths(pack([job_of([40, 30, 30, 1])], BatchBudget(8, 100), padded=False)) == [40, 30, 30]

    def test_a_batch_is_filled_to_the_last_token(self) -> None:
        assert lengths(pack([job_of([99]), job_of([1])], BatchBudget(8, 100), padded=False)) == [99, 1]

    def test_a_job_in_request_order_ends_at_the_first_that_does_not_fit(self) -> None:
        job = job_of([40, 30, 50, 20], until=math.inf)
        assert lengths(pack([job], BatchBudget(8, 100), padded=False)) == [40, 30]
        assert lengths(pack([job_of([60]), job], BatchBudget(8, 100), padded=False)) == [60]

    def test_a_job_whose_longest_does_not_fit_gives_a_shorter_one(self) -> None:
        assert lengths(pack([job_of([60]), job_of([50, 30])], BatchBudget(8, 100), padded=False)) == [60, 30]


@pytest.mark.parametrize("padded", [True, False])
class TestLaws:
    @pytest.mark.parametrize("full", [[10] * 20, [10] * 8, [20] * 5], ids=["more", "pairs", "tokens"])
    def test_a_job_that_fills_a_batch_by_itself_is_not_put_into_anothers(self, full: list[int], padded: bool) -> None:
        short, long, other = job_of([20]), job_of(full), job_of([14] * 4)
        batch = pack([short, long, other], BatchBudget(8, 100), padded=padded)
        assert [slot.job for slot in batch] == [short, *[other] * 4]

    def test_jobs_fill_a_batch_up_to_the_budget(self, padded: bool) -> None:
        first, second = job_of([10] * 5), job_of([10] * 5)
        batch = pack([first, second], BatchBudget(8, 100), padded=padded)
        assert [slot.job for slot in batch] == [first] * 5 + [second] * 3

    @given(crowds=CROWDS, budget=BUDGETS, ordered=ORDERED)
    def test_a_batch_is_within_the_budget_or_a_single_pair(
        self, crowds: list[list[int]], budget: BatchBudget, ordered: set[int], padded: bool
    ) -> None:
        batch = pack(crowd(crowds, ordered), budget, padded=padded)
        assert len(batch) == 1 or (len(batch) <= budget.pairs and cost(batch, padded=padded) <= budget.tokens)

    @given(crowds=CROWDS, budget=BUDGETS, ordered=ORDERED)
    def test_it_holds_the_first_jobs_longest_pair_or_its_next_one(
        self, crowds: list[list[int]], budget: BatchBudget, ordered: set[int], padded: bool
    ) -> None:
        jobs = crowd(crowds, ordered)
        batch = pack(jobs, budget, padded=padded)
        first = crowds[0][0] if jobs[0].ordered else max(crowds[0])
        assert (batch[0].job, batch[0].pair.tokens) == (jobs[0], first)

    @given(crowds=CROWDS, budget=BUDGETS, ordered=ORDERED)
    def test_pairs_of_a_job_in_request_order_are_taken_in_that_order(
        self, crowds: list[list[int]], budget: BatchBudget, ordered: set[int], padded: bool
    ) -> None:
        jobs = crowd(crowds, ordered)
        batch = pack(jobs, budget, padded=padded)
        for job in (job for job in jobs if job.ordered):
            places = [slot.place for slot in batch if slot.job is job]
            assert places == list(range(len(places)))

    @given(crowds=CROWDS, budget=BUDGETS, ordered=ORDERED)
    def test_pairs_are_taken_or_wait_and_never_both(
        self, crowds: list[list[int]], budget: BatchBudget, ordered: set[int], padded: bool
    ) -> None:
        jobs = crowd(crowds, ordered)
        batch = pack(jobs, budget, padded=padded)
        taken = Counter(slot.job for slot in batch)
        assert len({(slot.job, slot.place) for slot in batch}) == len(batch)
        assert [job.waiting + taken[job] for job in jobs] == [len(own) for own in crowds]

    @given(crowds=CROWDS, budget=BUDGETS, ordered=ORDERED)
    def test_no_small_job_is_left_out_whose_pair_would_have_joined(
        self, crowds: list[list[int]], budget: BatchBudget, ordered: set[int], padded: bool
    ) -> None:
        jobs = crowd(crowds, ordered)
        batch = pack(jobs, budget, padded=padded)
        longest = max(lengths(batch))
        served = {slot.job for slot in batch}
        small = [
            own[:1] if job.ordered else own
            for job, own in zip(jobs, crowds, strict=True)
            if job not in served and fits(own, longest, budget)
        ]
        for tokens in (tokens for own in small for tokens in own if len(batch) < budget.pairs):
            if padded:
                alike = 2 * longest <= 3 * tokens <= 3 * longest
                assert not alike or (len(batch) + 1) * longest > budget.tokens
            else:
                assert cost(batch, padded=False) + tokens > budget.tokens


@given(CROWDS, BUDGETS, ORDERED)
def test_padding_is_never_more_than_a_third_of_a_batch_begun_by_a_job_that_has_time(
    crowds: list[list[int]], budget: BatchBudget, ordered: set[int]
) -> None:
    batch = pack(crowd(crowds, ordered - {0}), budget, padded=True)
    assert 3 * sum(lengths(batch)) >= 2 * cost(batch, padded=True)


class TestBudgetOfMemory:
    def test_memory_budget_is_as_many_tokens_as_the_bytes_hold(self) -> None:
        assert ROOMY.within(1_000_000, 1000) == BatchBudget(32, 1000)

    def test_memory_budget_is_never_above_the_budget(self) -> None:
        assert ROOMY.within(10**12, 1000) == ROOMY

    def test_memory_budget_counts_nothing_where_tokens_take_nothing(self) -> None:
        assert ROOMY.within(0, 0) == ROOMY

    @pytest.mark.parametrize("padded", [True, False])
    def test_without_any_memory_a_pair_goes_alone(self, padded: bool) -> None:
        assert lengths(pack([job_of([9, 8, 7])], ROOMY.within(0, 1), padded=padded)) == [9]
