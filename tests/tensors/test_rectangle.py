from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from rerank.runtimes.base import Inputs, Values
from rerank.runtimes.rectangle import Rectangle, RectangleRuntime, rectangle_inputs
from rerank.runtimes.segments import Segment, pack_segments
from rerank.runtimes.torch_packed import attend_spans
from rerank.runtimes.windows import Windows

HEADS, SIZE = 2, 4


def segments(lengths: list[int]) -> list[Segment]:
    return [Segment(range(length), range(2, 2 + length), read=0) for length in lengths]


def rectangle(lengths: list[int]) -> Rectangle:
    inputs = rectangle_inputs(segments(lengths))
    return Rectangle(*(torch.from_numpy(inputs[name]) for name in ("rows", "places", "lengths")))


class TestRectangleInputs:
    def test_tokens_lie_one_after_another_and_know_their_place(self) -> None:
        inputs = {name: array.tolist() for name, array in rectangle_inputs(segments([3, 1, 2])).items()}

        assert inputs["input_ids"] == [0, 1, 2, 0, 0, 1]
        assert inputs["positions"] == [2, 3, 4, 2, 2, 3]
        assert inputs["read_at"] == [0, 3, 4]
        assert inputs["lengths"] == [3, 1, 2]
        assert inputs["places"] == [0, 1, 2, 3, 6, 7]
        assert [row[:length] for row, length in zip(inputs["rows"], [3, 1, 2], strict=True)] == [[0, 1, 2], [3], [4, 5]]
        assert "type_ids" not in inputs

    def test_segment_ids_follow(self) -> None:
        inputs = rectangle_inputs([Segment([7, 8], [0, 1], 0, [0, 1]), Segment([9], [0], 0, [1])])

        assert inputs["type_ids"].tolist() == [0, 1, 1]

    def test_all_are_whole_numbers_of_64_bits(self) -> None:
        assert {str(array.dtype) for array in rectangle_inputs(segments([2, 5])).values()} == {"int64"}


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_what_is_spread_can_be_gathered_again(lengths: list[int]) -> None:
    states = torch.randn(sum(lengths), HEADS, SIZE)

    assert torch.equal(rectangle(lengths).gather(rectangle(lengths).spread(states)), states)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_tokens_see_their_own_sequence_and_nothing_else(lengths: list[int]) -> None:
    batch = pack_segments(segments(lengths))
    query, key, value = torch.randn(3, sum(lengths), HEADS, SIZE)

    attended = rectangle(lengths).attend(query, key, value)
    first = rectangle(lengths).attend_once(query[batch.read_at], key, value)

    assert torch.allclose(attended, attend_spans(query, key, value, batch.spans), atol=1e-5)
    assert torch.allclose(first, attended[batch.read_at], atol=1e-5)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(1, 6))
def test_windows_hold_what_is_near_and_of_the_same_sequence(lengths: list[int], reach: int) -> None:
    batch = pack_segments(segments(lengths))
    query, key, value = torch.randn(3, sum(lengths), HEADS, SIZE)

    attended = Windows(rectangle(lengths), reach).attend(query, key, value)

    assert torch.allclose(attended, attend_spans(query, key, value, batch.spans, (reach, reach)), atol=1e-5)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_the_mean_is_of_a_sequences_own_tokens(lengths: list[int]) -> None:
    states = torch.randn(sum(lengths), SIZE)

    means = rectangle(lengths).mean(states)

    assert torch.allclose(means, torch.stack([part.mean(0) for part in torch.split(states, lengths)]), atol=1e-5)


def test_where_no_token_is_read_by_itself_no_network_is_told_which() -> None:
    pooled = [Segment(segment.input_ids, segment.positions) for segment in segments([2, 5])]

    assert "read_at" not in rectangle_inputs(pooled)
    assert pack_segments(pooled).read_at.tolist() == []


def test_the_first_output_of_any_runtime_is_what_counts() -> None:
    class Doubling:
        device = "cpu"
        precision = "bf16"
        description = "a runtime"

        def __call__(self, inputs: Inputs) -> tuple[Values, ...]:
            return inputs["input_ids"][inputs["read_at"]] * 2, None

    runtime = RectangleRuntime(Doubling())

    assert runtime([Segment([5, 6], [0, 1], 0), Segment([7], [0], 0)]).tolist() == [10, 14]
    assert (runtime.padded, runtime.precision, runtime.description) == (True, "bf16", "a runtime, sdpa attention")
