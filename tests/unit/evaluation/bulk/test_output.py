"""Outputs of bulk ranking."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest

from rerank.errors import SettingsError
from rerank.evaluation.bulk.items import Done
from rerank.evaluation.bulk.output import check_output, name_of, opened, part_of


def lines_in(output: IO[bytes]) -> Done:
    whole = [line for line in output if line.endswith(b"\n")]
    return Done(sum(map(len, whole)), len(whole))


def test_a_whole_output_gets_its_name_and_an_interrupted_one_goes_on(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with suppress(KeyboardInterrupt), opened(str(target), "run", lines_in, force=False) as output:
        output.write("one\ntw")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["out.run.part"]
    with opened(str(target), "run", lines_in, force=False) as output:
        assert output.done == Done(4, 1)
        output.write("zwei\n")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out", "one\nzwei\n")]


def test_what_is_there_is_replaced_only_by_force(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_text("precious")
    part_of(target, "run").write_text("one\n")
    with pytest.raises(SettingsError, match="out exists; name another"):
        check_output(str(target), force=False)
    check_output(str(target), force=True)
    with opened(str(target), "run", lines_in, force=True) as output:
        assert output.done == Done()
        assert target.read_text() == "precious"
        output.write("new\n")
    assert target.read_text() == "new\n"


def test_two_processes_do_not_write_one_output(tmp_path: Path) -> None:
    target = str(tmp_path / "out")
    with opened(target, "run", lines_in, force=False) as output:
        with pytest.raises(SettingsError, match=r"another process writes .*out\.run\.part"):
            opened(target, "run", lines_in, force=False).__enter__()
        output.write("one\n")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_device_is_a_stream() -> None:
    with opened("/dev/null", "run", lines_in, force=False) as output:
        output.write("one\n")
    assert Path("/dev/null").is_char_device()


def test_another_run_has_another_name() -> None:
    assert name_of("in", 1) == name_of("in", 1) != name_of("in", 2)
