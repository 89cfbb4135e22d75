from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rerank.devices import Device, runs_packed
from rerank.errors import ModelUnsupported
from rerank.runtimes.segments import Segment, Spans, pack_segments
from rerank.runtimes.torch_packed import CAUSAL, WHOLE, Window, attend_spans, window_options

HEADS, KEY_HEADS, SIZE = 4, 2, 8


def segment(length: int, first: int = 0, *, read: bool = True, continues: int | None = None) -> Segment:
    return Segment(range(length), range(first, first + length), length - 1 if read else None, None, continues)


def offsets(spans: Spans) -> tuple[list[int], list[int]]:
    return spans.query_offsets.tolist(), spans.key_offsets.tolist()


class TestPackSegments:
    def test_plain_sequences_lie_one_after_another(self) -> None:
        batch = pack_segments([segment(3), segment(2)])

        assert batch.row.input_ids.tolist() == [0, 1, 2, 0, 1]
        assert batch.row.positions.tolist() == [0, 1, 2, 0, 1]
        assert offsets(batch.spans) == ([0, 3, 5], [0, 3, 5])
        assert batch.spans.key_places is None
        assert batch.row.type_ids is None

    def test_a_continued_segment_lends_its_keys(self) -> None:
        batch = pack_segments([segment(2, read=False), segment(3, 2, continues=0), segment(1, 2, continues=0)])

        assert batch.row.positions.tolist() == [0, 1, 2, 3, 4, 2]
        assert offsets(batch.spans) == ([0, 2, 5, 6], [0, 2, 7, 10])
        assert batch.spans.key_places is not None
        assert batch.spans.key_places.tolist() == [0, 1, 0, 1, 2, 3, 4, 0, 1, 5]
        assert (batch.spans.longest_query, batch.spans.longest_key) == (3, 5)

    def test_only_what_is_read_asks_in_the_end(self) -> None:
        batch = pack_segments([segment(2, read=False), segment(3, 2, continues=0), segment(4)])

        assert batch.read_at.tolist() == [4, 8]
        assert offsets(batch.read_spans) == ([0, 1, 2], [0, 5, 9])
        assert batch.read_spans.key_places is not None
        assert batch.read_spans.key_places.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8]
        assert batch.read_spans.longest_query == 1

    def test_segment_ids_follow(self) -> None:
        batch = pack_segments([Segment([7, 8], [0, 1], 0, [0, 1]), Segment([9], [0], 0, [1])])

        assert batch.row.type_ids is not None
        assert batch.row.type_ids.tolist() == [0, 1, 1]


@st.composite
def trees(draw: st.DrawFn) -> list[Segment]:
    segments: list[Segment] = []
    for stem_length in draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)):
        stem = len(segments)
        segments.append(segment(stem_length))
        leaves = draw(st.lists(st.integers(1, 6), max_size=3))
        segments += [segment(length, stem_length, continues=stem) for length in leaves]
    return segments


WINDOWS = st.sampled_from([WHOLE, CAUSAL, (2, 2), (0, 3)])


@given(trees(), WINDOWS)
def test_a_segment_sees_what_it_continues_and_itself_and_nothing_else(segments: list[Segment], window: Window) -> None:
    batch = pack_segments(segments)
    tokens = len(batch.row.input_ids)
    generator = torch.Generator().manual_seed(tokens)
    query = torch.randn(tokens, HEADS, SIZE, generator=generator)
    key, value = (torch.randn(tokens, KEY_HEADS, SIZE, generator=generator) for _ in range(2))

    found = attend_spans(query, key, value, batch.spans, window)

    assert torch.allclose(found, by_one_mask(segments, query, key, value, window), atol=1e-5)
    if window == CAUSAL:
        last = attend_spans(query[batch.read_at], key, value, batch.read_spans, CAUSAL)
        assert torch.allclose(last, found[batch.read_at], atol=1e-5)


def by_one_mask(
    segments: list[Segment], query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, window: Window
) -> torch.Tensor:
    """The same by one square mask over all tokens."""
    owner = [place for place, part in enumerate(segments) for _ in part.input_ids]
    position = [at for part in segments for at in part.positions]
    mask = torch.tensor(
        [
            [
                owner[to] in (owner[asking], segments[owner[asking]].continues)
                and (window[0] < 0 or position[to] >= position[asking] - window[0])
                and (window[1] < 0 or position[to] <= position[asking] + window[1])
                for to in range(len(owner))
            ]
            for asking in range(len(owner))
        ]
    )
    query, key, value = (part.transpose(0, 1) for part in (query, key, value))
    attended = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=True)
    return attended.transpose(0, 1)


def test_a_cpu_runs_nothing_packed() -> None:

    assert not runs_packed(Device("cpu", "bf16", "2 threads"))


@pytest.mark.parametrize("capability", [(8, 0), (9, 0)])
def test_half_precision_on_a_new_gpu_runs_packed(capability: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert runs_packed(Device("cuda:0", "bf16", "a GPU"))
    assert not runs_packed(Device("cuda:0", "fp32", "a GPU"))


def test_a_version_of_torch_without_windows_refuses_those_it_does_not_have() -> None:
    before = frozenset({"is_causal"})

    assert window_options(CAUSAL, before) == {"is_causal": True}
    assert window_options(WHOLE, before) == {}
    assert window_options((2, 2), frozenset({"window_size"})) == {"window_size": (2, 2)}
    with pytest.raises(ModelUnsupported, match=r"torch 2\.11"):
        window_options((2, 2), before)
