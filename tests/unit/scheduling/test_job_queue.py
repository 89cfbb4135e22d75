from __future__ import annotations

import gc
import math
import random
import weakref
from collections import Counter, deque
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.scheduling.batching import BatchBudget
from rerank.scheduling.job import Job, Slot
from rerank.scheduling.job_queue import JobQueue

from .scorers import Echo, Piece, job_of, pieces

LENGTHS = st.lists(st.integers(1, 600), max_size=30)
CROWDS = st.lists(LENGTHS, max_size=6)
BUDGETS = st.builds(BatchBudget, pairs=st.integers(1, 8), tokens=st.integers(0, 2000))
ROOMY = BatchBudget(pairs=32, tokens=16384)
UNTIL = st.none() | st.integers(1, 6)
"""The moment of a job, if it has one."""


def line_of(*jobs: Job) -> JobQueue:
    line = JobQueue()
    for job in jobs:
        line.add(job)
    return line


def crowd(lengths_of_jobs: Sequence[Sequence[int]], scorers: int = 1) -> list[Job]:
    """Jobs for several models; every third is scored in request order."""
    models = [Echo(padded=number % 2 == 0) for number in range(scorers)]
    return [
        job_of(lengths, models[number % scorers], until=None if number % 3 else math.inf)
        for number, lengths in enumerate(lengths_of_jobs)
    ]


def batches(line: JobQueue, budget: BatchBudget) -> list[list[Slot]]:
    taken = []
    while batch := line.next_batch(budget):
        taken.append(batch)
    return taken


def answer_all(batch: Sequence[Slot]) -> None:
    for slot in batch:
        slot.job.resolve(slot.place, slot.pair.logit)  # type: ignore[attr-defined]


def equal_sharing(jobs: list[tuple[int, int]]) -> list[float]:
    """When each job of (arrival, tokens) ends on a device that all jobs present share token by token."""
    now, left, ends = 0.0, [float(tokens) for _, tokens in jobs], [0.0] * len(jobs)
    while any(tokens > 0 for tokens in left):
        here = [place for place, (arrival, _) in enumerate(jobs) if left[place] > 0 and arrival <= now + 1e-9]
        coming = [arrival for arrival, _ in jobs if arrival > now + 1e-9]
        step = min((left[place] * len(here) for place in here), default=math.inf)
        step = min(step, min(coming, default=math.inf) - now)
        now += step
        for place in here:
            left[place] -= step / len(here)
            if left[place] < 1e-6:
                left[place], ends[place] = 0.0, now
    return ends


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
    def test_a_batch_holds_pairs_of_one_scorer(
        self, lengths: list[list[int]], budget: BatchBudget, scorers: int
    ) -> None:
        for batch in batches(line_of(*crowd(lengths, scorers)), budget):
            assert len({slot.job.replicas for slot in batch}) == 1

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


class TestUntilAMoment:
    @given(
        st.lists(st.tuples(LENGTHS, LENGTHS, UNTIL), max_size=6),
        BUDGETS,
        st.integers(1, 2),
        st.integers(0, 3),
        st.data(),
    )
    def test_every_pair_ends_once_scored_in_order_or_given_up(
        self,
        asked: list[tuple[list[int], list[int], int | None]],
        budget: BatchBudget,
        scorers: int,
        per_moment: int,
        data: st.DataObject,
    ) -> None:
        """Half of a job's pairs may come later; a batch runs for up to a moment."""
        models = [Echo(padded=number % 2 == 0) for number in range(scorers)]
        line, taken, ends = JobQueue(), [], Counter[Job]()
        jobs = [
            Job((models[number % scorers],), [Piece(tokens) for tokens in own], "", until)
            for number, (own, _, until) in enumerate(asked)
        ]
        for job in jobs:
            job.future.add_done_callback(lambda _, job=job: ends.update([job]))  # type: ignore[misc]
            line.add(job)
        late = dict(zip(jobs, [later for _, later, _ in asked], strict=True))
        for now in range(8):
            for job in [job for job in late if job.ordered and (now >= 5 or data.draw(st.booleans(), label="extend"))]:
                line.extend(job, [Piece(tokens) for tokens in late.pop(job)])
                job.complete()
            line.expire(now)
            for _ in range(per_moment):
                batch = line.next_batch(budget)
                assert all(slot.job.until is None or slot.job.until > now for slot in batch)
                answer_all(batch)
                taken += batch
        line.expire(now)
        while batch := line.next_batch(budget):
            answer_all(batch)
            taken += batch

        assert not line.has_work
        assert ends == Counter(jobs)
        for job, (own, later, until) in zip(jobs, asked, strict=True):
            places = [slot.place for slot in taken if slot.job is job]
            if until is None:
                assert job.future.result(0) == [0.0] * len(own)
                continue
            assert places == list(range(len(places)))
            assert job.future.result(0) == [0.0] * len(places) + [None] * (len(own) + len(later) - len(places))

    def test_pairs_are_given_up_at_the_moment_and_not_before(self) -> None:
        early, late, endless = job_of([1], until=2.0), job_of([1], until=3.0), job_of([1])
        line = line_of(early, late, endless)
        line.expire(1.9)
        assert line.waiting_pairs() == 3
        line.expire(2.0)
        assert [job.waiting for job in (early, late, endless)] == [0, 1, 1]

    def test_a_batch_is_as_long_as_the_time_of_the_job_that_begins_it(self) -> None:
        line = line_of(job_of([10] * 6, until=math.inf))
        allowed = iter([25, 0, None])
        assert [len(line.next_batch(ROOMY, in_time=lambda _: next(allowed))) for _ in range(3)] == [2, 1, 3]

    @pytest.mark.parametrize(("allowed", "joins"), [(99, False), (100, True), (None, True)])
    def test_a_job_joins_only_batches_that_end_in_its_time(self, allowed: int | None, joins: bool) -> None:
        model = Echo()
        first, hasty, other = job_of([10], model), job_of([10], model, until=5.0), job_of([10], model)
        line = line_of(first, hasty, other)
        batch = line.next_batch(BatchBudget(8, 100), in_time={first: None, hasty: allowed, other: None}.__getitem__)
        assert ({slot.job for slot in batch} == {first, hasty, other}) is joins
        assert {first, other} <= {slot.job for slot in batch}

    def test_a_job_whose_pairs_were_all_taken_waits_again_for_its_turn(self) -> None:
        model = Echo()
        line = line_of(job := Job((model,), pieces(1), until=math.inf))
        line.next_batch(ROOMY)
        assert not line.has_work
        line.extend(job, pieces(3))
        assert line.waiting_pairs() == 3
        assert [slot.place for slot in line.next_batch(ROOMY)] == [1, 2, 3]

    def test_a_job_that_is_extended_waits_once(self) -> None:
        model = Echo()
        line = line_of(job := Job((model,), pieces(2), until=math.inf))
        line.extend(job, pieces(1))
        assert [slot.place for slot in line.next_batch(ROOMY)] == [0, 1, 2]
        assert line.drain() == []

    def test_its_first_pairs_come_before_the_end_of_shorter_jobs(self) -> None:
        model = Echo()
        line = line_of(*[job_of([8] * 5, model) for _ in range(3)], hasty := job_of([8] * 100, model, until=math.inf))
        taken = [line.next_batch(BatchBudget(1, 100))[0].job for _ in range(20)]
        assert [place for place, job in enumerate(taken) if job is hasty] == [0, 1, 2, 3, 19]

    def test_it_keeps_its_place_when_it_grows(self) -> None:
        """Otherwise it would come first again with every part."""
        model = Echo()
        line = line_of(job_of([8] * 3, model), hasty := Job((model,), pieces(1, 8), until=math.inf))
        taken = []
        for _ in range(6):
            line.extend(hasty, pieces(1, 8))
            taken.append(line.next_batch(BatchBudget(1, 100))[0].job)
        assert [job is hasty for job in taken] == [True, True, False, False, False, True]

    def test_a_job_that_grows_part_by_part_takes_one_share(self) -> None:
        """With a share for each of its parts the long one would have got too little by now to come first."""
        model = Echo()
        line = line_of(long := job_of([8] * 100, model), grown := Job((model,), pieces(1, 8), until=math.inf))
        for _ in range(50):
            line.extend(grown, pieces(1, 8))
        for _ in range(20):
            line.next_batch(BatchBudget(1, 100))
        line.add(late := job_of([8] * 95, model))
        taken = [batch[0].job for batch in batches(line, BatchBudget(1, 100))]
        assert taken.index(long) < taken.index(late)

    def test_what_it_was_served_while_nothing_else_waited_does_not_count(self) -> None:
        model = Echo()
        line = line_of(hasty := Job((model,), pieces(9, 8), until=math.inf))
        line.next_batch(ROOMY)
        line.extend(hasty, pieces(1, 8))
        line.add(job_of([8] * 3, model))
        assert line.next_batch(BatchBudget(1, 100))[0].job is hasty


class TestFairness:
    @pytest.mark.parametrize("padded", [True, False])
    @pytest.mark.parametrize("budget", [BatchBudget(8, 16384), ROOMY, BatchBudget(1024, 32768)])
    def test_ten_documents_beside_a_thousand_need_no_more_than_twice_as_many_batches_as_alone(
        self, budget: BatchBudget, padded: bool
    ) -> None:
        random_lengths = random.Random(0)
        short = [random_lengths.randint(20, 370) for _ in range(10)]
        long = [random_lengths.randint(20, 370) for _ in range(1000)]
        alone = len(batches(line_of(job_of(short)), budget))
        for arrival in range(1, 20, 3):
            model = Echo(padded=padded)
            line = line_of(job_of(long, model))
            for _ in range(arrival):
                line.next_batch(budget)
            line.add(late := job_of(short, model))
            passed = 0
            while late.waiting:
                line.next_batch(budget)
                passed += 1
            assert passed <= 2 * alone

    @given(
        st.lists(st.tuples(st.integers(0, 500), LENGTHS.filter(bool), st.booleans()), min_size=1, max_size=12).map(
            sorted
        ),
        st.booleans(),
    )
    def test_no_job_ends_later_than_if_all_shared_equally(
        self, arrivals: list[tuple[int, list[int], bool]], padded: bool
    ) -> None:
        """Time is counted in tokens; pairs go one by one, and a job arrives when the pair before is done.

        Some jobs are scored in request order.
        """
        model = Echo(padded=padded)
        line, coming, now = JobQueue(), deque(arrivals), 0
        jobs: dict[Job, tuple[int, int]] = {}
        ended: dict[Job, int] = {}
        while coming or line.has_work:
            now = now if line.has_work else max(now, coming[0][0])
            while coming and coming[0][0] <= now:
                _, own, ordered = coming.popleft()
                job = job_of(own, model, until=math.inf if ordered else None)
                jobs[job] = (now, job.waiting_tokens)
                line.add(job)
            (slot,) = line.next_batch(BatchBudget(pairs=1, tokens=600))
            now += slot.pair.tokens
            if slot.job.taken:
                ended[slot.job] = now

        equally = equal_sharing(list(jobs.values()))
        assert all(ended[job] <= end + 1e-6 for job, end in zip(jobs, equally, strict=True))

    def test_of_equal_jobs_the_first_ends_first(self) -> None:
        model = Echo()
        first, second = job_of([5] * 3, model), job_of([5] * 3, model)
        taken = [slot.job for batch in batches(line_of(first, second), BatchBudget(1, 100)) for slot in batch]
        assert taken == [first] * 3 + [second] * 3

    def test_a_short_job_comes_before_what_is_left_of_a_long_one(self) -> None:
        model = Echo()
        line = line_of(long := job_of([9] * 1000, model))
        line.next_batch(BatchBudget(1, 100))
        line.add(short := job_of([1] * 3, model))
        taken = [line.next_batch(BatchBudget(1, 100))[0].job for _ in range(4)]
        assert taken == [short, short, short, long]

    def test_a_long_job_that_is_nearly_done_comes_first(self) -> None:
        model = Echo()
        line = line_of(long := job_of([9] * 10, model))
        for _ in range(9):
            line.next_batch(BatchBudget(1, 100))
        line.add(short := job_of([5] * 2, model))
        taken = [line.next_batch(BatchBudget(1, 100))[0].job for _ in range(3)]
        assert taken == [long, short, short]

    def test_who_left_took_no_share(self) -> None:
        """Beside many others the long one would have got too little by now to come first."""
        model = Echo()
        line = line_of(long := job_of([8] * 100, model))
        for _ in range(50):
            line.add(gone := job_of([8] * 100, model))
            gone.future.cancel()
        for _ in range(20):
            line.next_batch(BatchBudget(1, 100))
        line.add(job_of([7] * 100, model))
        assert line.next_batch(BatchBudget(1, 100))[0].job is long

    def test_a_short_job_of_another_model_waits_for_one_batch_at_most(self) -> None:
        line = line_of(Job((Echo(),), pieces(1000)))
        line.next_batch(ROOMY)
        late = Job((Echo(),), pieces(3))
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


class TestCallers:
    @staticmethod
    def jobs(model: Echo, caller: str, count: int, pairs: int = 10, tokens: int = 100) -> list[Job]:
        return [Job((model,), pieces(pairs, tokens), caller) for _ in range(count)]

    def test_a_trickle_is_not_behind_a_flood(self) -> None:
        """Alone it takes two batches; next to a hundred requests of another caller no more than twice as many."""
        model = Echo()
        line = line_of(*self.jobs(model, "flood", 100))
        for _ in range(7):
            line.next_batch(BatchBudget(8, 16384))
        line.add(late := self.jobs(model, "trickle", 1)[0])
        passed = 0
        while late.waiting:
            line.next_batch(BatchBudget(8, 16384))
            passed += 1
        assert passed <= 4

    @given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 12)), min_size=1, max_size=30), BUDGETS)
    def test_who_has_enough_to_do_gets_as_much_as_anybody(
        self, small: list[tuple[str, int]], budget: BatchBudget
    ) -> None:
        """However many requests the others cut their work into, the gap stays within a batch or two."""
        model = Echo()
        line = JobQueue()
        for caller, pairs in small:
            line.add(Job((model,), pieces(pairs, tokens=10), caller))
        line.add(steady := Job((model,), pieces(1000, tokens=10), "steady"))
        got: Counter[str] = Counter()
        while any(job.waiting and job.caller != "steady" for job in line._jobs()):
            for slot in line.next_batch(budget):
                got[slot.job.caller] += 1
            busy = {job.caller for job in line._jobs() if job.waiting}
            assert all(got["steady"] >= got[caller] - 2 * budget.pairs for caller in busy)
        assert steady.waiting > 0

    def test_time_without_work_is_no_credit(self) -> None:
        model = Echo()
        line = line_of(*self.jobs(model, "busy", 20))
        for _ in range(10):
            line.next_batch(BatchBudget(8, 16384))
        for job in self.jobs(model, "late", 20):
            line.add(job)
        taken = [{slot.job.caller for slot in line.next_batch(BatchBudget(8, 16384))} for _ in range(8)]
        assert sum("busy" in callers for callers in taken) >= 4

    def test_what_was_served_counts_until_nothing_waits(self) -> None:
        model, one = Echo(), BatchBudget(pairs=1, tokens=100)
        line = line_of(Job((model,), pieces(3, 10), "little"), Job((model,), pieces(1, 50), "much"))
        assert [line.next_batch(one)[0].job.caller for _ in range(2)] == ["little", "much"]
        # it comes back with a short one
        line.add(Job((model,), pieces(1, 1), "much"))
        assert [batch[0].job.caller for batch in batches(line, one)] == ["little", "little", "much"]
        line.add(Job((model,), pieces(1, 2), "little"))
        line.add(Job((model,), pieces(1, 1), "much"))
        assert [batch[0].job.caller for batch in batches(line, one)] == ["much", "little"]

    def test_of_one_caller_the_old_rules_hold(self) -> None:
        model = Echo()
        long, short = self.jobs(model, "one", 1, pairs=100)[0], self.jobs(model, "one", 1, pairs=2)[0]
        line = line_of(long)
        line.next_batch(BatchBudget(8, 16384))
        line.add(short)
        assert short in {slot.job for slot in line.next_batch(BatchBudget(8, 16384))}


class TestDevices:
    def test_a_batch_is_limited_by_the_replica_of_the_device_that_takes_it(self) -> None:
        replicas = (Echo(bytes_per_token=1), Echo(bytes_per_token=10))
        line = line_of(Job(replicas, pieces(100, tokens=10)))
        assert [len(line.next_batch(ROOMY, device, memory=1000)) for device in (0, 1, 0)] == [32, 10, 32]

    def test_without_a_limit_of_memory_bytes_do_not_count(self) -> None:
        line = line_of(Job((Echo(bytes_per_token=10**9),), pieces(3)))
        assert len(line.next_batch(ROOMY)) == 3

    def test_a_batch_is_limited_by_what_was_learnt_of_its_model(self) -> None:
        small, other = Echo(), Echo()
        line = line_of(*(Job((model,), pieces(5, tokens=10)) for model in (small, other)))
        learnt: dict[object, int | None] = {small: 20, other: None}
        assert [len(line.next_batch(ROOMY, learnt=learnt.__getitem__)) for _ in range(3)] == [2, 5, 2]

    def test_a_batch_grows_with_what_its_model_computes_quickly(self) -> None:
        line = line_of(job_of([10] * 9))
        assert len(line.next_batch(BatchBudget(2, 1000), quick=lambda _: 50)) == 5

    def test_without_memory_pairs_go_one_by_one(self) -> None:
        line = line_of(Job((Echo(bytes_per_token=1),), pieces(3)))
        assert [len(batch) for batch in iter(lambda: line.next_batch(ROOMY, memory=0), [])] == [1, 1, 1]


class TestLine:
    def test_a_job_without_pairs_is_no_work(self) -> None:
        line = line_of(job_of([]))
        assert not line.has_work
        assert line.next_batch(ROOMY) == []

    def test_a_job_is_untouched_while_all_its_pairs_wait(self) -> None:
        untouched, begun, ended = (Job((Echo(),), pieces(2)) for _ in range(3))
        begun.begun = 1.0
        ended.future.cancel()
        assert list(line_of(untouched, begun, ended).untouched()) == [untouched]

    def test_an_empty_line_gives_an_empty_batch(self) -> None:
        assert JobQueue().next_batch(ROOMY) == []

    def test_draining_hands_over_every_job_and_leaves_nothing(self) -> None:
        jobs = crowd([[1], [2, 3], [4]], scorers=2)
        line = line_of(*jobs)
        assert set(line.drain()) == set(jobs)
        assert line.drain() == []
        assert line.waiting_pairs() == 0


def test_a_model_nobody_waits_for_is_let_go_of() -> None:
    line = JobQueue()
    for scorer in (Echo(), Echo()):
        line.add(Job((scorer,), pieces(3)))
    scored, left = (weakref.ref(job.replicas[0]) for job in line._jobs())
    del scorer
    answer_all(line.next_batch(ROOMY))
    gc.collect()
    assert (scored() is None, left() is None) == (True, False)
    next(iter(line._jobs())).future.cancel()
    line.drop_ended()
    gc.collect()
    assert left() is None
