"""Collections on disk: what is read of them, and which file and line an error names."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest

from rerank.evaluation.reading.lines import LONGEST_LINE, DataError, shown
from rerank.evaluation.reading.reader import read_collection
from rerank.evaluation.reading.wanted import Files, Wanted
from tests.unit.evaluation.folders import BEIR_QRELS, DOCUMENTS, QUERIES, beir

JUDGED = Wanted(judged=True)
TREC = {
    "queries.tsv": "q1\tred apples\nq2\t熊猫吃什么\n",
    "collection.tsv": "".join(f"{name}\t{text}\n" for name, text in DOCUMENTS.items()),
    "qrels.txt": "q1 0 d1 2\nq1 0 d2 0\nq2 0 d3 1\n",
    "run.trec": "q1 Q0 d4 2 1.5 bm25\nq1 Q0 d1 1 2.5 bm25\nq2 Q0 d3 1 9e-1 bm25\n",
}


def test_a_beir_folder_without_a_run_gets_one_from_bm25_in_any_language(tmp_path: Path) -> None:
    read = read_collection(beir(tmp_path), Files(), JUDGED)
    assert read.name == tmp_path.name
    assert read.candidates == {"q1": ("d1", "d2", "d3", "d4"), "q2": ("d3", "d1", "d2", "d4")}
    assert read.queries == {name: QUERIES[name] for name in ("q1", "q2")}
    assert read.documents == DOCUMENTS
    assert read.grades == {"q1": {"d1": 2, "d2": 0}, "q2": {"d3": 1}}


def test_the_depth_limits_candidates_and_only_texts_that_are_needed_are_kept(tmp_path: Path) -> None:
    read = read_collection(beir(tmp_path), Files(), Wanted(depth=1, judged=True))
    assert read.candidates == {"q1": ("d1",), "q2": ("d3",)}
    assert read.documents.keys() == {"d1", "d3"}


def test_queries_without_judgements_are_read_where_none_are_needed(tmp_path: Path) -> None:
    folder = beir(tmp_path)
    (folder / "qrels" / "test.tsv").unlink()
    read = read_collection(folder, Files(), Wanted())
    assert read.queries == QUERIES
    assert read.grades == {}


def test_a_sample_is_the_same_for_the_same_seed_and_keeps_the_order(tmp_path: Path) -> None:
    lines = [json.dumps({"_id": f"q{number}", "text": "red"}) for number in range(1, 10)]
    folder = beir(tmp_path, {"queries.jsonl": "\n".join(lines)})
    drawn = {seed: list(read_collection(folder, Files(), _drawn(seed)).queries) for seed in (0, 1)}
    assert drawn[0] == list(read_collection(folder, Files(), _drawn(0)).queries) != drawn[1]
    assert all(len(queries) == 4 and queries == sorted(queries) for queries in drawn.values())


def _drawn(seed: int) -> Wanted:
    return Wanted(sample=4, seed=seed)


def test_titles_stand_before_the_text(tmp_path: Path) -> None:
    folder = beir(tmp_path, {"corpus.jsonl": '{"_id": "d1", "title": "Apples", "text": "are red"}\n'})
    assert read_collection(folder, Files(), Wanted()).documents == {"d1": "Apples are red"}


def test_trec_files_are_read_and_a_run_is_sorted_by_score(tmp_path: Path) -> None:
    for name, text in TREC.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    read = read_collection(tmp_path, Files(), JUDGED)
    assert read.candidates == {"q1": ("d1", "d4"), "q2": ("d3",)}
    assert read.documents == {name: DOCUMENTS[name] for name in ("d1", "d3", "d4")}
    assert read.grades == {"q1": {"d1": 2, "d2": 0}, "q2": {"d3": 1}}


@pytest.mark.parametrize("run", [{"q1": ["d2", "d1"], "q9": []}, {"q1": {"d1": 0.5, "d2": 3}}], ids=["order", "scores"])
def test_runs_in_json_have_an_order_or_scores(run: object, tmp_path: Path) -> None:
    folder = beir(tmp_path, {"run.bm25.json": json.dumps(run)})
    assert read_collection(folder, Files(), JUDGED).candidates == {"q1": ("d2", "d1")}


def test_named_files_take_the_place_of_the_folders_own(tmp_path: Path) -> None:
    folder = beir(tmp_path, {"run.a": TREC["run.trec"], "run.b": "", "other.tsv": "q2\td3\t3\n"})
    files = Files(run=folder / "run.a", judgements=folder / "other.tsv")
    read = read_collection(folder, files, JUDGED)
    assert read.candidates == {"q2": ("d3",)}
    assert read.grades == {"q2": {"d3": 3}}


LISTS = [
    '{"query": "red", "documents": ["apple", {"text": "car"}], "relevances": [1, 0]}',
    '{"id": 7, "query": "blue", "documents": ["sky"]}',
]


def test_lists_of_documents_are_read_from_jsonl(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text("\ufeff" + "\n\n".join(LISTS), encoding="utf-8")
    read = read_collection(file, Files(), Wanted())
    assert read.name == "mine"
    assert read.queries == {"1": "red", "7": "blue"}
    assert read.documents == {"1.1": "apple", "1.2": "car", "7.1": "sky"}
    assert read.candidates == {"1": ("1.1", "1.2"), "7": ("7.1",)}
    assert read.grades == {"1": {"1.1": 1, "1.2": 0}}
    assert read_collection(file, Files(), JUDGED).queries == {"1": "red"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mine.JSONL", LISTS[0]),
        ("mine.ndjson", LISTS[0]),
        ("mine.CSV", "query,document,relevance,,\nred,apple,1,,\n"),
    ],
)
def test_files_of_lists_are_told_by_every_suffix_that_rank_takes(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert list(read_collection(tmp_path / name, Files(), JUDGED).queries.values()) == ["red"]


def test_texts_and_runs_are_told_by_suffixes_in_any_case(tmp_path: Path) -> None:
    queries = '{"_id": "q1", "text": "red"}\n{"_id": "q2", "text": "blue"}\n'
    folder = beir(tmp_path, {"queries.NDJSON": queries, "a.JSON": '{"q1": ["d2", "d1"]}'})
    read = read_collection(folder, Files(queries=folder / "queries.NDJSON", run=folder / "a.JSON"), Wanted())
    assert (read.queries, read.candidates) == ({"q1": "red"}, {"q1": ("d2", "d1")})


def test_the_first_stage_logs_nothing_of_its_library(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # as its import does
    caplog.set_level(logging.DEBUG, "bm25s")
    read_collection(beir(tmp_path), Files(), JUDGED)
    assert [record.message for record in caplog.records if record.name == "bm25s"] == []


@pytest.mark.parametrize(
    "text",
    [
        'query,documents,relevances\nred,"[""apple"", ""car\\nsick""]","[1, 0]"\n',
        'query,document,relevance\nred,apple,1\nred,"car\nsick",0\n',
    ],
    ids=["lists", "pairs"],
)
def test_csv_has_lists_or_a_row_for_each_pair(text: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(text, encoding="utf-8")
    read = read_collection(file, Files(), JUDGED)
    assert list(read.queries.values()) == ["red"]
    assert list(read.documents.values()) == ["apple", "car\nsick"]
    assert [list(grades.values()) for grades in read.grades.values()] == [[1, 0]]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"qrels/test.tsv": ""}, "qrels/test.tsv: holds no judgement"),
        (
            {"qrels/test.tsv": BEIR_QRELS + "q9\td1\t1\n"},
            "qrels/test.tsv:5: query 'q9' has no text in {}/queries.jsonl",
        ),
        ({"qrels/test.tsv": BEIR_QRELS + "q1\td3\tnan\n"}, "qrels/test.tsv:5: the grade is not a whole number: 'nan'"),
        ({"qrels/test.tsv": BEIR_QRELS + "q1\td3\t0.5\n"}, "qrels/test.tsv:5: the grade is not a whole number: '0.5'"),
        ({"qrels/test.tsv": BEIR_QRELS + "q1\td1\t1\n"}, "qrels/test.tsv:5: document 'd1' of query 'q1' is judged"),
        ({"qrels/test.tsv": BEIR_QRELS + "q1 d1\n"}, "qrels/test.tsv:5: 2 columns"),
        ({"qrels/test.tsv": "q1\tx\t1\n"}, "corpus.jsonl: holds none of the relevant documents of"),
        ({"queries.jsonl": '{"_id": "q1", "text": "a"}\n' * 2}, "queries.jsonl:2: the id 'q1' stands here"),
        ({"queries.jsonl": '{"_id": "q1", "texts": "a"}\n'}, "queries.jsonl:1: no field text; there is '_id', 'texts'"),
        ({"queries.jsonl": '{"_id": "q1", "text": 5}\n'}, "queries.jsonl:1: the text is not text: 5"),
        ({"queries.jsonl": "\n[1]\n"}, "queries.jsonl:2: is not a JSON object"),
        ({"queries.jsonl": "{"}, "queries.jsonl:1: is not JSON"),
        (
            {"queries.jsonl": r'{"_id": "q1", "text": "\ud800"}'},
            "queries.jsonl:1: the text holds half a surrogate",
        ),
        ({"corpus.jsonl": ""}, "corpus.jsonl: holds no document"),
        ({"corpus.jsonl": '{"_id": "d1", "text": "a"}\n' * 2}, "corpus.jsonl:2: the id 'd1' stands here"),
        ({"corpus.jsonl": '{"_id": null, "text": "a"}\n'}, "corpus.jsonl:1: the id is not an id: null"),
        ({"corpus.jsonl": " " * (LONGEST_LINE + 1)}, "corpus.jsonl:1: the line is longer than 16 MiB"),
        ({"run.trec": "q1 Q0 d1 1 2.5 x\nq1 Q0 d77 2 1.5 x\n"}, "run.trec:2: document 'd77' has no text in"),
        ({"run.trec": ""}, "run.trec: holds no document for a judged query"),
        ({"run.json": "{}"}, "run.json: holds no document for a judged query"),
        ({"run.json": '{"q1": 5}'}, "run.json:1: query 'q1' has neither"),
        ({"run.json": '{"q1": {"d1": NaN}}'}, "run.json:1: the score of d1 for query q1 is not a finite number"),
        ({"run.json": "{"}, "run.json: is not JSON"),
        ({"run.trec": "q1 Q0 d1 1 nan x\n"}, "run.trec:1: the score is not a finite number: 'nan'"),
        ({"run.trec": "q1 Q0 d1 1 1 x\n" * 2}, "run.trec:2: document 'd1' of query 'q1' stands here a second time"),
        ({"run.trec": "q1 d1 1 1\n"}, "run.trec:1: 4 columns; a run has 6"),
        ({"run.a": "", "run.b": ""}, ": several runs (run.a, run.b); name one with --run"),
    ],
)
def test_errors_name_file_and_line(files: dict[str, str], message: str, tmp_path: Path) -> None:
    folder = beir(tmp_path, files)
    with pytest.raises(DataError) as raised:
        read_collection(folder, Files(), JUDGED)
    assert message.format(folder) in str(raised.value)
    assert str(raised.value).startswith(str(folder))


@pytest.mark.parametrize(
    ("missing", "option"), [("qrels/test.tsv", "--qrels"), ("corpus.jsonl", "--corpus"), ("queries.jsonl", "--queries")]
)
def test_a_missing_file_is_named_with_the_option_for_another(missing: str, option: str, tmp_path: Path) -> None:
    (beir(tmp_path) / missing).unlink()
    with pytest.raises(DataError, match=rf"there is none of .*{missing}.*name the file with {option}"):
        read_collection(tmp_path, Files(), JUDGED)


def test_text_in_another_encoding_is_refused_at_its_line(tmp_path: Path) -> None:
    folder = beir(tmp_path)
    (folder / "queries.jsonl").write_bytes(b'{"_id": "q1", "text": "a"}\n{"_id": "q2", "text": "\xe4"}\n')
    with pytest.raises(DataError, match=r"queries.jsonl:2: not UTF-8 \(.* at byte 23 of the line\)"):
        read_collection(folder, Files(), JUDGED)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", "", "a.jsonl: holds no query"),
        ("a.jsonl", LISTS[1], "a.jsonl: no query has relevances"),
        ("a.jsonl", '{"query": "a", "documents": []}', "a.jsonl:1: documents must be a list with at least one text"),
        (
            "a.jsonl",
            '{"query": "a", "documents": ["b"], "relevances": []}',
            "a.jsonl:1: relevances must be a list of",
        ),
        (
            "a.jsonl",
            '{"query": "a", "documents": ["b"], "relevances": [NaN]}',
            "a.jsonl:1: relevances[0] is not a whole",
        ),
        ("a.jsonl", '{"query": "a", "documents": [4]}', "a.jsonl:1: documents[0] is not text: 4"),
        ("a.jsonl", '{"documents": ["b"]}', "a.jsonl:1: query is not text: null"),
        ("a.jsonl", "\n".join([LISTS[1]] * 2), "a.jsonl:2: the query's id '7' stands here for the second time"),
        ("a.csv", "", "a.csv: holds no query"),
        ("a.csv", "query,text\na,b\n", "a.csv:1: the columns must be query and documents"),
        ("a.csv", "query,documents\na,b\n", "a.csv:2: documents is not JSON"),
        ("a.csv", "query,document,relevance\na,b,1\na,c,x\n", "a.csv:3: relevance is not a whole number: 'x'"),
        ("a.csv", "query,document,relevance\na,b,1\na,c,\n", "a.csv:3: relevance is not a whole number: ''"),
        ("a.csv", "id,query,document\n1,a,b\n1,z,c\n", "a.csv:3: the id '1' stands here with another query"),
        ("a.csv", "query,document\na\n", "a.csv:2: 1 cells; the heading has 2"),
        ("a.csv", 'query,document\na,"b', "a.csv:2: unexpected end of data"),
        ("a.csv", "query,document,query\na,b,c\n", "a.csv:1: two columns have the name 'query'"),
        ("a.txt", "", "a.txt: is neither a folder nor a file that ends in .jsonl or .ndjson or .csv"),
    ],
)
def test_errors_of_lists_name_file_and_line(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as raised:
        read_collection(tmp_path / name, Files(), JUDGED)
    assert str(raised.value).startswith(f"{tmp_path}/{message}")


def test_a_file_that_is_missing_is_refused_and_files_of_a_folder_go_with_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.csv: there is no such file or folder"):
        read_collection(tmp_path / "none.csv", Files(), JUDGED)
    (tmp_path / "a.csv").touch()
    with pytest.raises(DataError, match="is not a folder; --queries"):
        read_collection(tmp_path / "a.csv", Files(run=tmp_path), JUDGED)


def test_errors_show_the_beginning_of_a_value_and_none_of_one_nested_too_deeply() -> None:
    nested: list[object] = []
    for _ in range(sys.getrecursionlimit()):
        nested = [nested]
    assert shown({"text": "a" * 100}) == '{"text": "' + "a" * 50 + "..."
    assert shown(nested) == "nested too deeply"
