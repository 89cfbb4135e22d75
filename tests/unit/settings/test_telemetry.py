from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest

from rerank.telemetry import configure_logging, request_id_var

pytestmark = pytest.mark.usefixtures("restored_logging")
logger = logging.getLogger("rerank.test")


@pytest.fixture
def request_id() -> Iterator[str]:
    token = request_id_var.set("req-42")
    yield "req-42"
    request_id_var.reset(token)


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


class TestText:
    def test_a_log_line_carries_the_request_id(self, stream: io.StringIO, request_id: str) -> None:
        configure_logging("info", "text", stream)
        logger.info("scored %d pairs", 3)
        assert stream.getvalue().endswith("INFO    rerank.test [req-42] scored 3 pairs\n")

    def test_a_log_line_outside_requests_has_a_dash(self, stream: io.StringIO) -> None:
        configure_logging("info", "text", stream)
        logger.warning("started")
        assert "WARNING rerank.test [-] started" in stream.getvalue()

    def test_a_log_line_follows_a_format_string(self, stream: io.StringIO, request_id: str) -> None:
        configure_logging("info", "%(name)s|%(levelname)s|%(request_id)s|%(message)s", stream)
        logger.info("scored %d pairs", 3)
        assert stream.getvalue() == "rerank.test|INFO|req-42|scored 3 pairs\n"

    async def test_each_task_logs_its_own_request_id(self, stream: io.StringIO) -> None:
        configure_logging("info", "text", stream)

        async def answer(name: str) -> None:
            request_id_var.set(name)
            await asyncio.sleep(0)
            logger.info("answer to %s", name)

        await asyncio.gather(answer("a"), answer("b"))
        assert "[a] answer to a\n" in stream.getvalue()
        assert "[b] answer to b\n" in stream.getvalue()


class TestJson:
    def test_a_json_log_line_is_one_object(self, stream: io.StringIO, request_id: str) -> None:
        configure_logging("info", "json", stream)
        logger.info("two\nlines")
        (line,) = stream.getvalue().splitlines()
        told = json.loads(line)
        assert told.pop("time")
        assert told == {"level": "INFO", "logger": "rerank.test", "request_id": "req-42", "message": "two\nlines"}

    def test_a_traceback_stays_in_its_json_line(self, stream: io.StringIO) -> None:
        configure_logging("info", "json", stream)
        try:
            raise RuntimeError("broken")
        except RuntimeError:
            logger.exception("failed")
        (line,) = stream.getvalue().splitlines()
        assert "RuntimeError: broken" in json.loads(line)["exc_info"]


class TestLevels:
    def test_lines_below_the_minimum_level_are_not_logged(self, stream: io.StringIO) -> None:
        configure_logging("warning", "text", stream)
        logger.info("hidden")
        logger.warning("shown")
        assert "hidden" not in stream.getvalue()
        assert "shown" in stream.getvalue()

    @pytest.mark.parametrize(("level", "told"), [("debug", {"warning", "error"}), ("error", {"error"})])
    def test_chatty_libraries_are_kept_to_warnings(self, stream: io.StringIO, level: str, told: set[str]) -> None:
        configure_logging(level, "text", stream)
        for word in ("debug", "info", "warning", "error"):
            getattr(logging.getLogger("httpx"), word)("library %s", word)
        assert {line.rsplit(" ", 1)[-1] for line in stream.getvalue().splitlines()} == told


class TestUvicorn:
    def test_the_access_log_of_uvicorn_is_silent(self, stream: io.StringIO) -> None:
        configure_logging("debug", "text", stream)
        logging.getLogger("uvicorn.access").critical("GET /v1/models?key=s3cret")
        assert stream.getvalue() == ""

    def test_other_lines_of_uvicorn_are_logged_once(self, stream: io.StringIO) -> None:
        own = io.StringIO()
        logging.getLogger("uvicorn").addHandler(logging.StreamHandler(own))
        configure_logging("info", "text", stream)
        logging.getLogger("uvicorn.error").info("started")
        assert stream.getvalue().count("started") == 1
        assert own.getvalue() == ""


def test_log_lines_go_to_stderr_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "text")
    logger.info("to stderr")
    captured = capsys.readouterr()
    assert "to stderr" in captured.err
    assert captured.out == ""


def test_configuring_the_log_twice_logs_once(stream: io.StringIO) -> None:
    configure_logging("info", "text", stream)
    configure_logging("info", "text", stream)
    logger.info("once")
    assert stream.getvalue().count("once") == 1
