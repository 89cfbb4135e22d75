"""Collections on disk: a folder, or a file of lists."""

from __future__ import annotations

from pathlib import Path

from rerank.evaluation.collection import Collection
from rerank.evaluation.reading.folder import read_folder
from rerank.evaluation.reading.lines import DataError
from rerank.evaluation.reading.lists import LIST_FORMATS, read_lists
from rerank.evaluation.reading.wanted import Files, Wanted


def read_collection(data: Path, files: Files, wanted: Wanted) -> Collection:
    """The part of the data that is wanted. Raises DataError, whose message names file and line."""
    if data.is_dir():
        return read_folder(data, files, wanted)
    if not data.exists():
        raise DataError(f"{data}: there is no such file or folder")
    if files != Files():
        raise DataError(f"{data}: is not a folder; --queries, --corpus, --qrels and --run name the files of one")
    if data.suffix.lower() not in LIST_FORMATS:
        raise DataError(f"{data}: is neither a folder nor a file that ends in {' or '.join(LIST_FORMATS)}")
    return read_lists(data, wanted)
