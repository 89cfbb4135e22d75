"""Formats of bulk ranking: what is asked, what is written, and where an interrupted output goes on."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.evaluation.bulk.csv_pairs import CsvPairs
from rerank.evaluation.bulk.items import Choices, Done, Format, Item, left
from rerank.evaluation.bulk.jsonl import Jsonl
from rerank.evaluation.bulk.trec import TrecRun
from rerank.evaluation.rankers import Asked, Ranked
from rerank.evaluation.reading.lines import LONGEST_LINE, DataError, lines_in
from rerank.text_file import parse_json

CHOICES = Choices("model", most_documents=4)
DOCUMENTS = {"d1": "one", "d2": "two", "d3": "three"}


def trec(choices: Choices = CHOICES) -> TrecRun:
    return TrecRun(choices, {"1": "first", "2": "second", "12": "third"}.get, DOCUMENTS.get)


def items(form: Format, content: bytes) -> Iterator[Item]:
    return form.items(lines_in(io.BytesIO(content), Path("in")))


def ranked(item: Item) -> Ranked:
    """The longest document is the best."""
    relevance = tuple(len(document) / 100 for document in item.documents)
    return Ranked(relevance, tuple(sorted(range(len(relevance)), key=lambda i: -relevance[i])), 7, 0.1)


def output(form: Format, content: bytes, skip: bytes = b"") -> bytes:
    """The output of a run, from where an earlier one ended."""
    done = form.done(io.BytesIO(skip))
    rendered = [form.rendered(item, item.error or ranked(item)) for item in left(items(form, content), done)]
    return (skip[: done.offset] or form.head.encode()) + "".join(rendered).encode()


def parsed(form: Format, *lines: str) -> list[Any]:
    return [json.loads(line) for line in output(form, "\n".join(lines).encode()).splitlines()]


class TestJsonl:
    def test_the_other_fields_are_kept(self) -> None:
        (line,) = parsed(
            Jsonl(CHOICES),
            '{"id": 3, "query": "q", "documents": ["a", {"text": "bb"}], "note": "保留", "error": "old"}',
        )
        assert line == {
            "id": 3,
            "query": "q",
            "note": "保留",
            "model": "model",
            "results": [{"index": 1, "relevance_score": 0.02}, {"index": 0, "relevance_score": 0.01}],
            "usage": {"total_tokens": 7},
        }

    def test_documents_come_back_as_they_were_sent(self) -> None:
        form = Jsonl(Choices("model", top_n=1, documents_too=True))
        (line,) = parsed(form, '{"query": "q", "documents": ["a", {"text": "bb", "url": "u"}]}')
        assert line["results"] == [{"index": 1, "relevance_score": 0.02, "document": {"text": "bb", "url": "u"}}]

    def test_as_many_documents_as_allowed_and_a_single_result_may_be_asked_for(self) -> None:
        (item,) = items(Jsonl(CHOICES), b'{"query": "q", "documents": ["1", "2", "3", "4"], "top_n": 1}  \r\n')
        assert (item.key, item.query, item.documents, item.top_n) == ("q", "q", ("1", "2", "3", "4"), 1)
        assert item.error == ""

    @pytest.mark.parametrize("number", ["true", "1.0", '"1"', "-1"])
    def test_a_number_of_results_is_a_whole_one(self, number: str) -> None:
        (item,) = items(Jsonl(CHOICES), f'{{"query": "q", "documents": ["a"], "top_n": {number}}}'.encode())
        assert item.error == "in:1: top_n must be a whole number from 1"

    def test_a_line_that_is_no_text_has_no_query(self) -> None:
        (item,) = items(Jsonl(CHOICES), b"\xff\n")
        assert (item.key, item.source, item.documents) == ("", {}, ())
        assert "not UTF-8" in item.error

    def test_texts_are_written_readably(self) -> None:
        assert "保留".encode() in output(Jsonl(CHOICES), '{"query": "保留", "documents": ["a"]}'.encode())

    def test_an_output_that_is_no_jsonl_is_refused_with_what_to_do(self) -> None:
        with pytest.raises(DataError, match=r"^the interrupted output is not JSON.*; remove it, or add --force$"):
            Jsonl(CHOICES).done(io.BytesIO(b"query,document\n"))

    def test_an_output_without_a_whole_line_holds_nothing(self) -> None:
        assert Jsonl(CHOICES).done(io.BytesIO(b'{"query": "q"')) == Done(0, 0, "")
        assert Jsonl(CHOICES).done(io.BytesIO(b"[1]\n")) == Done(4, 1, "")

    def test_a_line_may_say_what_it_asks_for(self) -> None:
        form = Jsonl(Choices("model", top_n=1, asked=Asked("all", 3)))
        lines = (
            b'{"query": "q", "documents": ["a"]}\n{"query": "q", "documents": ["a"], "top_n": 2, "instruction": "x"}'
        )
        first, second = items(form, lines)
        assert (first.top_n, first.asked) == (1, Asked("all", 3))
        assert (second.top_n, second.asked) == (2, Asked("x", 3))

    @pytest.mark.parametrize(
        ("line", "error"),
        [
            ("{", "in:1: is not JSON"),
            ("[]", "in:1: is not a JSON object"),
            ('{"query": "q", "documents": ["a"], "weight": NaN}', "in:1: is not JSON (NaN is not a number of JSON)"),
            ('{"documents": ["a"]}', "in:1: query is not text: null"),
            ('{"query": "q", "documents": []}', "in:1: documents must be a list with at least one text"),
            ('{"query": "q", "documents": ["a", 3]}', "in:1: documents[1] is not text: 3"),
            ('{"query": "\\ud800", "documents": ["a"]}', "in:1: query holds half a surrogate pair"),
            ('{"query": "q", "documents": ["1", "2", "3", "4", "5"]}', "in:1: 5 documents; 4 is the maximum"),
            ('{"query": "q", "documents": ["a"], "top_n": 0}', "in:1: top_n must be a whole number from 1"),
            ('{"query": "q", "documents": ["a"], "instruction": 1}', "in:1: instruction is not text: 1"),
            ('{"query": "q", "documents": ["a"], "weight": 1e999}', "a number of this line is beyond what JSON can"),
            ('{"documents": ["a"], "weight": 1e999}', "a number of this line is beyond what JSON can"),
        ],
    )
    def test_a_wrong_line_is_an_error_in_its_place(self, line: str, error: str) -> None:
        wrong, right = parsed(Jsonl(CHOICES), line, '{"query": "q", "documents": ["a"]}')
        assert wrong["error"].startswith(error)
        assert "results" not in wrong
        assert len(right["results"]) == 1

    def test_lines_end_as_on_any_system_and_blank_ones_are_left_out(self) -> None:
        content = b'\xef\xbb\xbf{"query": "q", "documents": ["a"]}\r\n\r\n{"query": "\xff"}\n'
        content += b'{"query": "r", "documents": ["a"]}'
        first, second, third = (json.loads(line) for line in output(Jsonl(CHOICES), content).splitlines())
        assert (first["query"], third["query"]) == ("q", "r")
        assert second["error"].startswith("in:3: not UTF-8")

    def test_a_huge_line_is_an_error_and_the_next_one_is_read(self) -> None:
        content = b"x" * (LONGEST_LINE + 1) + b'\n{"query": "q", "documents": ["a"]}'
        first, second = (json.loads(line) for line in output(Jsonl(CHOICES), content).splitlines())
        assert first == {"error": "in:1: the line is longer than 16 MiB"}
        assert len(second["results"]) == 1

    def test_a_number_in_place_of_a_query_does_not_break_the_output(self) -> None:
        written = output(Jsonl(CHOICES), b'{"query": 1e999, "documents": ["a"]}').decode()
        assert parse_json(written, strict=True)["query"] == ""

    def test_a_line_that_cannot_be_written_again_is_not_asked_for(self) -> None:
        (item,) = items(Jsonl(CHOICES), b'{"query": "q", "documents": ["a"], "weight": 1e999}')
        assert item.error == "in:1: a number of this line is beyond what JSON can hold"

    def test_a_field_that_cannot_be_written_again_is_an_error_in_its_place(self) -> None:
        nested: list[Any] = []
        for _ in range(sys.getrecursionlimit()):
            nested = [nested]
        item = Item("q", {"query": "q", "note": nested}, "q", ("a",))
        written = json.loads(Jsonl(CHOICES).rendered(item, ranked(item)))
        assert written == {"query": "q", "error": "a field of this line is nested too deeply to be written"}

    def test_half_a_character_in_a_kept_field_stays(self) -> None:
        (line,) = parsed(Jsonl(CHOICES), '{"query": "q", "documents": ["a"], "note": "\\ud800"}')
        assert line["note"] == "\ud800"


class TestCsv:
    def test_rows_of_one_query_that_follow_each_other_are_a_request(self) -> None:
        content = b'id,query,document\r\n1,q,a\r\n2,q,"b\nb"\r\n3,r,c\r\n4,q,d\r\n'
        assert [(item.query, item.documents) for item in items(CsvPairs(CHOICES), content)] == [
            ("q", ("a", "b\nb")),
            ("r", ("c",)),
            ("q", ("d",)),
        ]
        rows = list(csv.reader(io.StringIO(output(CsvPairs(CHOICES), content).decode())))
        assert rows == [
            ["id", "query", "document", "relevance_score", "rank", "error"],
            ["1", "q", "a", "0.01", "2", ""],
            ["2", "q", "b\nb", "0.03", "1", ""],
            ["3", "r", "c", "0.01", "1", ""],
            ["4", "q", "d", "0.01", "1", ""],
        ]

    def test_ids_tell_equal_queries_apart(self) -> None:
        content = b"query_id,query,document\n1,q,a\n2,q,b\n"
        assert [item.documents for item in items(CsvPairs(CHOICES), content)] == [("a",), ("b",)]

    def test_only_the_best_rows_are_written_if_asked(self) -> None:
        written = output(CsvPairs(Choices("model", top_n=1)), b"query,document,rank\nq,a,9\nq,bb,9\n")
        assert written == b"query,document,relevance_score,rank,error\nq,bb,0.02,1,\n"

    def test_an_error_stands_in_every_row_of_the_query(self) -> None:
        form = CsvPairs(CHOICES)
        (item,) = items(form, b"query,document\nq,a\nq,b\n")
        assert form.rendered(item, "no, thanks") == 'q,a,,,"no, thanks"\nq,b,,,"no, thanks"\n'

    @pytest.mark.parametrize(
        ("content", "error"),
        [
            (b"a,document\n", "in:1: no column query; there is a, document"),
            (b"query,document,query\nq,a,r\n", "in:1: two columns have the name 'query'"),
            (b"query,document\nq\n", "in:2: 1 cells; the heading has 2"),
            (b'query,document\nq,"a\n', "in:2: unexpected end of data"),
            (b"query,document\nq,\xff\n", "in:2: not UTF-8"),
            (b"query,document\n" + b"q,a\n" * 5, "in:6: more than 4 documents of one query"),
        ],
    )
    def test_a_file_whose_rows_cannot_be_told_says_where(self, content: bytes, error: str) -> None:
        with pytest.raises(DataError, match=f"^{error}"):
            list(items(CsvPairs(CHOICES), content))

    def test_an_empty_file_gives_an_empty_one_and_a_heading_a_heading(self) -> None:
        assert output(CsvPairs(CHOICES), b"") == b""
        assert output(CsvPairs(CHOICES), b"query,document\n") == b"query,document,relevance_score,rank,error\n"

    def test_both_columns_that_are_missing_are_named(self) -> None:
        with pytest.raises(DataError, match=r"^in:1: no column query and no column document; there is a, b$"):
            list(items(CsvPairs(CHOICES), b"a,b\n"))

    def test_as_many_documents_as_allowed_are_one_item_and_asked_for_as_chosen(self) -> None:
        form = CsvPairs(Choices("model", top_n=2, asked=Asked("all", 3), most_documents=4))
        (item,) = items(form, b"query,document\n" + b"q,a\n" * 4)
        assert (item.key, item.query, item.documents) == ("q", "q", ("a",) * 4)
        assert (item.top_n, item.asked) == (2, Asked("all", 3))

    def test_queries_with_different_ids_are_different_items(self) -> None:
        content = b"query_id,query,document\n1,q,a\n1,q,b\n2,q,c\n"
        assert [item.key for item in items(CsvPairs(CHOICES), content)] == ["1\0q", "2\0q"]

    def test_an_output_holds_the_queries_before_its_last(self) -> None:
        rows = "query,document,relevance_score,rank,error\nq,a,0.5,1,\nr,b,0.5,1,\nr,c,0.4,2,\ns,d,0.5,1,\n"
        last = rows.index("s,d")
        assert CsvPairs(CHOICES).done(io.BytesIO(rows.encode())) == Done(last, 2, "r")


class TestTrec:
    RUN = b"1 Q0 d2 1 9 bm25\n1 Q0 d3 2 8 bm25\n2 Q0 d1 1 9 bm25\n"

    def test_a_run_becomes_a_run(self) -> None:
        assert output(trec(Choices("my model", top_n=2)), self.RUN) == (
            b"1 Q0 d3 1 0.05 my-model\n1 Q0 d2 2 0.03 my-model\n2 Q0 d1 1 0.03 my-model\n"
        )
        assert [item.query for item in items(trec(), self.RUN)] == ["first", "second"]

    def test_as_many_documents_as_allowed_are_one_item_and_asked_for_as_chosen(self) -> None:
        form = trec(Choices("model", top_n=2, asked=Asked("all", 3), most_documents=3))
        (item,) = items(form, b"".join(b"1 Q0 d%d 1 9 x\n" % place for place in (1, 2, 3)))
        assert (item.key, item.source, item.documents) == ("1", ("d1", "d2", "d3"), ("one", "two", "three"))
        assert (item.top_n, item.asked) == (2, Asked("all", 3))

    def test_what_has_no_text_keeps_the_id_of_its_query(self) -> None:
        content = b"9 Q0 d2 1 9 x\n1 Q0 d9 1 9 x\n"
        assert [(item.key, item.source) for item in items(trec(), content)] == [("9", ()), ("1", ())]

    def test_an_output_holds_the_queries_before_its_last(self) -> None:
        assert trec().done(io.BytesIO(self.RUN)) == Done(self.RUN.index(b"2 Q0"), None, "1")
        assert trec().done(io.BytesIO(b"1 Q0 d2 1 9 bm25\n")) == Done(0, None, "")

    def test_a_query_without_a_text_has_an_error_and_no_lines(self) -> None:
        content = b"9 Q0 d2 1 9 x\n1 Q0 d9 1 9 x\n2 Q0 d1 1 9 x\n"
        assert [item.error for item in items(trec(), content)] == [
            "in:1: query '9' has no text",
            "in:2: document 'd9' has no text",
            "",
        ]
        assert output(trec(), content) == b"2 Q0 d1 1 0.03 model\n"

    @pytest.mark.parametrize(
        ("content", "error"),
        [
            (b"1 Q0 d1 1 9\n", "in:1: 5 columns; a run has 6"),
            (b"1 Q0 d1 1 nan x\n", "in:1: the score is not a finite number"),
            (RUN + b"1 Q0 d1 1 9 x\n", "in:4: query '1' stands here for the second time"),
            (b"".join(b"1 Q0 d%d 1 9 x\n" % place for place in range(5)), "in:5: more than 4 documents"),
        ],
    )
    def test_what_is_no_run_says_where(self, content: bytes, error: str) -> None:
        with pytest.raises(DataError, match=f"^{error}"):
            list(items(trec(), content))


INPUTS: dict[str, tuple[Callable[[], Format], bytes]] = {
    "jsonl": (
        lambda: Jsonl(CHOICES),
        '{"query": "ä", "documents": ["a"]}\n{\n\n{"query": "ä"}\n{"query": "s", "documents": ["b", "cc"]}'.encode(),
    ),
    "csv": (
        lambda: CsvPairs(CHOICES),
        'query,document,note\nq,a,\nq,"b,\nä",x\nr,"""c""",y\nq,d,z\ns,e,\n'.encode(),
    ),
    "trec": (
        trec,
        b"1 Q0 d2 1 9 b\n1 Q0 d3 2 8 b\n9 Q0 d1 1 9 b\n12 Q0 d1 1 9 b\n12 Q0 d2 1 9 b\n2 Q0 d1 1 9 b\n",
    ),
}


@pytest.mark.parametrize("name", INPUTS)
@given(cut=st.data())
def test_an_output_that_is_cut_anywhere_becomes_the_same(name: str, cut: st.DataObject) -> None:
    make, content = INPUTS[name]
    whole = output(make(), content)
    at = cut.draw(st.integers(0, len(whole)))
    assert output(make(), content, skip=whole[:at]) == whole


@pytest.mark.parametrize("name", INPUTS)
def test_an_output_of_another_input_is_not_continued(name: str) -> None:
    make, content = INPUTS[name]
    whole = output(make(), content)
    other = {"jsonl": b'{"query": "x"}\n' * 9, "csv": b"query,document,note\n" + b"x,a,\ny,b,\n" * 9, "trec": b""}[name]
    with pytest.raises(DataError, match=r"^the interrupted output is of another input; remove it, or add --force$"):
        output(make(), other, skip=whole)
