from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.scheduling.line import BatchBudget, Job, Line, Slot, pack

from .scorers import Echo, Piece, pieces

LENGTHS = st.lists(st.integers(1, 600), max_size=30)
CROWDS = st.lists(LENGTHS, max_size=6)
BUDGETS = st.builds(BatchBudget, pairs=st.integers(1, 8), tokens=st.integers(1, 2000))
ROOMY = BatchBudget(pairs=32, tokens=16384)


def job_of(lengths: Sequence[int], scorer: Echo | None = None) -> Job:
    return Job(scorer or Echo(), [Piece(tokens, float(place)) for place, tokens in enumerate(lengths)])


def line_of(*jobs: Job) -> Line:
    line = Line()
    for job in jobs:
        line.add(job)
    return line


def crowd(lengths_of_jobs: Sequence[Sequence[int]], scorers: int = 1) -> list[Job]:
    models = [Echo() for _ in range(scorers)]
    return [job_of(lengths, models[number % scorers]) for number, lengths in enumerate(lengths_of_jobs)]


def batches(line: Line, budget: BatchBudget) -> list[list[Slot]]:
    taken = []
    while batch := line.next_batch(budget):
        taken.append(batch)
    return taken


def answer_all(batch: Sequence[Slot]) -> None:
    for slot in batch:
        slot.job.resolve(slot.place, slot.pair.logit)  # type: ignore[attr-defined]


class TestBudget:
    @pytest.mark.parametrize(
        ("pairs", "longest", "admitted"),
        [(4, 25, True), (5, 1, False), (4, 26, False), (1, 100, True), (1, 101, False)],
    )
    def test_counts_pairs_and_padded_tokens(self, pairs: int, longest: int, admitted: bool) -> None:
        assert BatchBudget(pairs=4, tokens=100).admits(pairs, longest) is admitted


class TestPack:
    def test_takes_a_pair_from_each_job_in_turn(self) -> None:
        jobs = [job_of([1] * 5), job_of([1] * 5), job_of([1])]
        batch = pack(jobs, BatchBudget(pairs=6, tokens=100))
        assert [jobs.index(slot.job) for slot in batch] == [0, 1, 2, 0, 1, 0]

    def test_takes_the_longest_pairs_of_a_job_first(self) -> None:
        batch = pack([job_of([3, 9, 5])], BatchBudget(pairs=2, tokens=100))
        assert [slot.pair.tokens for slot in batch] == [9, 5]

    def test_equally_long_pairs_leave_in_request_order(self) -> None:
        assert [slot.place for slot in pack([job_of([7, 7, 7])], ROOMY)] == [0, 1, 2]

    def test_a_pair_above_the_budget_goes_alone(self) -> None:
        job = job_of([5000, 4000])
        assert [slot.place for slot in pack([job], BatchBudget(pairs=8, tokens=100))] == [0]
        assert job.waiting == 1

    def test_a_pair_that_does_not_fit_ends_only_its_own_jobs_share(self) -> None:
        small, large = job_of([10] * 4), job_of([90])
        batch = pack([small, large], BatchBudget(pairs=8, tokens=100))
        assert [slot.job for slot in batch] == [small] * 4
        assert large.waiting == 1

    def test_padding_counts_for_pairs_already_taken(self) -> None:
        batch = pack([job_of([10]), job_of([10]), job_of([40])], BatchBudget(pairs=8, tokens=100))
        assert [slot.pair.tokens for slot in batch] == [10, 10]

    def test_nothing_comes_of_nobody(self) -> None:
        assert pack([], ROOMY) == []


class TestLaws:
    @given(CROWDS, BUDGETS, st.integers(1, 3))
    def test_no_pair_is_lost_or_handed_out_twice(
        self, lengths: list[list[int]], budget: BatchBudget, scorers: int
    ) -> None:
        jobs = crowd(lengths, scorers)
        taken = Counter((slot.job, slot.place) for batch in batches(line_of(*jobs), budget) for slot in batch)
        assert taken == Counter(
            (job, place) for job, own in zip(jobs, lengths, strict=True) for place in range(len(own))
        )

    @given(CROWDS, BUDGETS, st.integers(1, 3))
    def test_a_batch_is_within_the_budget_or_a_single_pair(
        self, lengths: list[list[int]], budget: BatchBudget, scorers: int
    ) -> None:
        for batch in batches(line_of(*crowd(lengths, scorers)), budget):
            assert len(batch) == 1 or budget.admits(len(batch), max(slot.pair.tokens for slot in batch))

    @given(CROWDS, BUDGETS, st.integers(1, 3))
    def test_a_batch_holds_pairs_of_one_scorer(
        self, lengths: list[list[int]], budget: BatchBudget, scorers: int
    ) -> None:
        for batch in batches(line_of(*crowd(lengths, scorers)), budget):
            assert len({slot.job.scorer for slot in batch}) == 1

    @given(CROWDS, BUDGETS, st.integers(1, 3))
    def test_a_batch_is_empty_only_if_nothing_waits(
        self, lengths: list[list[int]], budget: BatchBudget, scorers: int
    ) -> None:
        line = line_of(*crowd(lengths, scorers))
        for left in range(sum(map(len, lengths)), 0, -1):
            waiting = line.waiting_pairs()
            assert waiting <= left
            batch = line.next_batch(budget)
            assert bool(batch) is bool(waiting)
            assert line.waiting_pairs() == waiting - len(batch)
        assert line.next_batch(budget) == []

    @given(CROWDS, BUDGETS)
    def test_no_batch_leaves_out_a_next_pair_that_would_fit(
        self, lengths: list[list[int]], budget: BatchBudget
    ) -> None:
        jobs = crowd(lengths)
        line = line_of(*jobs)
        while batch := line.next_batch(budget):
            longest = max(slot.pair.tokens for slot in batch)
            left_out = [job for job in jobs if job.waiting]
            assert not any(budget.admits(len(batch) + 1, max(longest, job.next_tokens)) for job in left_out)

    @given(CROWDS, BUDGETS)
    def test_no_job_gets_more_than_its_turn_while_anothers_pair_fits(
        self, lengths: list[list[int]], budget: BatchBudget
    ) -> None:
        jobs = crowd([own for own in lengths if own])
        waiting = {job: sorted(own, reverse=True) for job, own in zip(jobs, (o for o in lengths if o), strict=True)}
        batch = pack(jobs, budget)
        shares = dict.fromkeys(jobs, 0)
        for place, slot in enumerate(batch):
            longest = max((earlier.pair.tokens for earlier in batch[:place]), default=0)
            for other in jobs:
                behind = shares[other] < shares[slot.job] and shares[other] < len(waiting[other])
                if behind:
                    padded = max(longest, waiting[other][shares[other]])
                    assert not budget.admits(place + 1, padded)
            shares[slot.job] += 1

    @given(CROWDS, BUDGETS, st.integers(1, 3))
    def test_results_come_back_in_request_order(
        self, lengths: list[list[int]], budget: BatchBudget, scorers: int
    ) -> None:
        jobs = crowd(lengths, scorers)
        for batch in batches(line_of(*jobs), budget):
            answer_all(batch)
        assert [job.future.result(0) for job in jobs] == [
            [float(place) for place in range(len(own))] for own in lengths
        ]

    @given(CROWDS, BUDGETS, st.data())
    def test_ended_jobs_are_dropped_with_all_their_pairs(
        self, lengths: list[list[int]], budget: BatchBudget, data: st.DataObject
    ) -> None:
        jobs = crowd(lengths, scorers=2)
        line = line_of(*jobs)
        for _ in range(data.draw(st.integers(0, 3), label="batches before")):
            line.next_batch(budget)
        left = set(data.draw(st.lists(st.sampled_from(jobs)) if jobs else st.just([]), label="left"))
        for number, job in enumerate(left):
            if number % 2:
                job.future.cancel()
            else:
                job.fail(RuntimeError("the batch failed"))
        staying = {job: job.waiting for job in jobs if job not in left and job.waiting}
        assert line.waiting_pairs() == sum(staying.values())
        assert Counter(slot.job for batch in batches(line, budget) for slot in batch) == staying


class TestFairness:
    @given(arrival=st.integers(0, 40), short=st.integers(1, 40))
    def test_a_short_job_behind_a_thousand_pairs_is_done_within_the_next_batches(
        self, arrival: int, short: int
    ) -> None:
        scorer = Echo()
        line = line_of(Job(scorer, pieces(1000, tokens=100)))
        for _ in range(min(arrival, 25)):
            line.next_batch(ROOMY)
        late = Job(scorer, pieces(short, tokens=100))
        line.add(late)
        for _ in range(-(-short // (ROOMY.pairs // 2))):
            answer_all(line.next_batch(ROOMY))
        assert late.future.done()

    def test_a_short_job_of_another_model_waits_for_one_batch_at_most(self) -> None:
        line = line_of(Job(Echo(), pieces(1000)))
        line.next_batch(ROOMY)
        late = Job(Echo(), pieces(3))
        line.add(late)
        for _ in range(2):
            answer_all(line.next_batch(ROOMY))
        assert late.future.result(0) == [0.0, 1.0, 2.0]

    def test_scorers_take_turns(self) -> None:
        first, second, third = (job_of([1] * 4) for _ in range(3))
        taken = batches(line_of(first, second, third), BatchBudget(pairs=2, tokens=100))
        assert [batch[0].job for batch in taken] == [first, second, third, first, second, third]

    def test_a_scorer_without_work_costs_no_turn(self) -> None:
        gone, staying = job_of([1]), job_of([1])
        line = line_of(gone, staying)
        gone.future.cancel()
        assert [slot.job for slot in line.next_batch(ROOMY)] == [staying]

    def test_a_newcomer_does_not_jump_the_turn(self) -> None:
        first, second, newcomer = (job_of([1] * 4) for _ in range(3))
        line = line_of(first, second)
        budget = BatchBudget(pairs=2, tokens=100)
        line.next_batch(budget)
        line.add(newcomer)
        assert [batch[0].job for batch in batches(line, budget)][:3] == [second, first, newcomer]


class TestLine:
    def test_an_empty_line_gives_an_empty_batch(self) -> None:
        assert Line().next_batch(ROOMY) == []

    def test_draining_hands_over_every_job_and_leaves_nothing(self) -> None:
        jobs = crowd([[1], [2, 3], [4]], scorers=2)
        line = line_of(*jobs)
        assert set(line.drain()) == set(jobs)
        assert line.drain() == []
        assert line.waiting_pairs() == 0


class TestJob:
    def test_without_pairs_it_is_done_at_once(self) -> None:
        job = job_of([])
        assert job.future.result(0) == []
        assert line_of(job).next_batch(ROOMY) == []

    def test_ends_with_its_last_pair_and_not_before(self) -> None:
        job = job_of([1, 1])
        job.resolve(1, 0.5)
        assert not job.future.done()
        job.resolve(0, -0.5)
        assert job.future.result(0) == [-0.5, 0.5]

    def test_an_answer_after_the_caller_left_is_dropped(self) -> None:
        job = job_of([1])
        job.future.cancel()
        job.resolve(0, 1.0)
        assert job.future.cancelled()

    def test_keeps_its_first_end(self) -> None:
        job = job_of([1])
        job.resolve(0, 1.0)
        job.fail(RuntimeError("too late"))
        assert job.future.result(0) == [1.0]

    def test_has_nothing_waiting_once_it_failed(self) -> None:
        job = job_of([1, 1])
        assert job.waiting == 2
        job.fail(RuntimeError("failed"))
        assert job.waiting == 0


class TestTurns:
    def test_jobs_take_turns_where_a_batch_holds_one_pair(self) -> None:
        model = Echo()
        long, short = job_of([9] * 1000, model), job_of([1], model)
        line = line_of(long, short)

        taken = [line.next_batch(BatchBudget(pairs=1, tokens=100))[0].job for _ in range(2)]

        assert taken == [long, short]

    def test_who_found_no_room_comes_first_in_the_next_batch(self) -> None:
        model = Echo()
        crowded = [job_of([1] * 1000, model) for _ in range(32)]
        last = job_of([1], model)
        line = line_of(*crowded, last)

        first, second = line.next_batch(ROOMY), line.next_batch(ROOMY)

        assert last not in {slot.job for slot in first}
        assert second[0].job is last

    def test_a_long_pair_is_not_passed_over_twice(self) -> None:
        model = Echo()
        line = line_of(job_of([100] * 1000, model), long := job_of([400], model))
        budget = BatchBudget(pairs=8, tokens=450)

        assert long not in {slot.job for slot in line.next_batch(budget)}
        assert [slot.job for slot in line.next_batch(budget)] == [long]
