"""Words of a pod in the operator's log forge no line of it and steer no terminal."""

import json
import logging
import sys

from llmservice_operator.__main__ import JsonFormatter, TextFormatter

FORGED = "x\n2026-11-30 03:00:00,000 ERROR llmservice_operator: Lost the Lease\x1b[2J\x9b\u202e"


def record(error: Exception | None = None) -> logging.LogRecord:
    try:
        raise error or ValueError("none")
    except Exception:
        info = sys.exc_info() if error else None
    return logging.LogRecord("a.logger", logging.INFO, __file__, 1, "team-a/chat: %s", (FORGED,), info)


def test_a_message_is_one_line_of_text() -> None:
    line = TextFormatter("%(levelname)s %(name)s: %(message)s").format(record())
    assert line.startswith("INFO a.logger: team-a/chat: x 2026")
    assert line.isprintable()


def test_each_line_of_a_traceback_is_indented() -> None:
    head, *lines = TextFormatter("%(levelname)s: %(message)s").format(record(ValueError(FORGED))).split("\n")
    assert head.startswith("INFO: ")
    assert len(lines) > 2
    assert all(line.startswith("  ") and line.isprintable() for line in lines)


def test_json_has_no_character_that_steers_a_terminal() -> None:
    line = JsonFormatter().format(record(ValueError(FORGED)))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["message"].endswith(FORGED)
