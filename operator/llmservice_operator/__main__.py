"""The command line of the operator: ``run``, ``gateway``, ``batches``, ``crd`` and ``version``.

Each subcommand imports its modules when it runs, so that ``crd`` loads neither a client nor a framework.
"""

import argparse
import json
import logging
import sys
from typing import Any

from llmservice_operator import __version__
from llmservice_operator.api import CLUSTER_MODEL_PLURAL, MODEL_PLURAL, PLURAL

_YOUNG_OBJECTS = 20_000
"""New objects after which the garbage collector runs. Python's default of 700, with a thousand services, scanned the
whole cache every 40 s, for 0.25 s each time, and freed nothing."""


def main(arguments: list[str] | None = None) -> int:
    """Runs one subcommand; returns the exit status."""
    parser = argparse.ArgumentParser(prog="llmservice-operator", description="The operator of LLMService resources.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="run the operator; settings are environment variables LLMSERVICE_*")
    commands.add_parser("gateway", help="run the gateway; settings are environment variables LLMSERVICE_GATEWAY_*")
    commands.add_parser(
        "batches", help="run files and batches; settings are environment variables LLMSERVICE_BATCHES_*"
    )
    crd = commands.add_parser("crd", help="print a CustomResourceDefinition")
    crd.add_argument(
        "plural", nargs="?", default=PLURAL, choices=(PLURAL, MODEL_PLURAL, CLUSTER_MODEL_PLURAL), help="of which kind"
    )
    commands.add_parser("version", help="print the version")
    options = parser.parse_args(arguments)
    match options.command:
        case "crd":
            from llmservice_operator.api.crd import manifest

            sys.stdout.write(manifest(options.plural))
            return 0
        case "gateway":
            return _run_gateway()
        case "batches":
            return _run_batches()
        case "version":
            print(__version__)
            return 0
        case _:
            return _run()


def _run() -> int:
    import gc

    import uvloop

    from llmservice_operator.config.settings import SettingsError, from_environment, with_files

    try:
        settings = with_files(from_environment())
    except SettingsError as error:
        for problem in error.problems:
            print(f"llmservice-operator: {problem}", file=sys.stderr)
        return 2
    _log(settings.log_format, settings.log_level)
    from llmservice_operator.controller.manager import run

    gc.set_threshold(_YOUNG_OBJECTS)
    return uvloop.run(run(settings))


def _run_gateway() -> int:
    import os

    import uvloop

    from llmservice_operator.config.gateway import read_gateway
    from llmservice_operator.config.settings import SettingsError

    try:
        settings = read_gateway(os.environ)
    except SettingsError as error:
        for problem in error.problems:
            print(f"llmservice-operator: {problem}", file=sys.stderr)
        return 2
    _log(settings.log_format, settings.log_level)
    from llmservice_operator.controller.gateway.run import run

    return uvloop.run(run(settings))


def _run_batches() -> int:
    import os

    import uvloop

    from llmservice_operator.config.batches import read_batches
    from llmservice_operator.config.settings import SettingsError

    try:
        settings = read_batches(os.environ)
    except SettingsError as error:
        for problem in error.problems:
            print(f"llmservice-operator: {problem}", file=sys.stderr)
        return 2
    _log(settings.log_format, settings.log_level)
    from llmservice_operator.batches.run import run

    return uvloop.run(run(settings))


def _log(form: str, level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(TextFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)


class TextFormatter(logging.Formatter):
    """Writes each record as one line, even if its message has text from a pod. A traceback follows, indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (its name in logging)
        """The line."""
        record.message = _printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 (its name in logging)
        """The traceback."""
        return "\n".join(f"  {_printable(line)}" for line in super().formatException(ei).splitlines())


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else " " if each == "\n" else "?" for each in text)


class JsonFormatter(logging.Formatter):
    """Writes one JSON object per line: time, level, logger, message, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line).replace("\x7f", "\\u007f")


if __name__ == "__main__":
    raise SystemExit(main())
