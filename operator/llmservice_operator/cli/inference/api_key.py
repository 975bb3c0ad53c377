"""The API key that a request carries: of --key, or of the environment, which other users of the machine can't read."""

from __future__ import annotations

import argparse
import os

from llmservice_operator.cli.failure import Failure

VARIABLE = "LLM_API_KEY"
_LONGEST = 1024


def define(parser: argparse.ArgumentParser) -> None:
    """The option --key."""
    parser.add_argument(
        "--key",
        metavar="KEY",
        help=f"API key of the service; absent: ${VARIABLE}, which is better because other users of this machine can "
        "read arguments",
    )


def api_key(options: argparse.Namespace) -> str:
    """The key; empty for none. Raises Failure for a text that no HTTP header can carry."""
    source = "--key" if options.key is not None else f"the variable {VARIABLE}"
    key = str(options.key if options.key is not None else os.environ.get(VARIABLE, "")).strip()
    if len(key) > _LONGEST or not key.isascii() or not key.isprintable():
        raise Failure(f"{source} is not an API key: a key has at most {_LONGEST} printable ASCII characters")
    return key


def missing_key(service: str, namespace: str, given: bool) -> Failure:
    """The failure of a request that the service answers with 401."""
    create = f"`kubectl llm keys create {service} -n {namespace}`"
    if given:
        return Failure(
            f"the service {service} does not accept this API key (401): {create} creates one, and "
            f"`kubectl llm keys list {service} -n {namespace}` lists those that are valid. A replica accepts a new key "
            "after at most 2 minutes"
        )
    return Failure(
        f"the service {service} needs an API key (401): set the variable {VARIABLE}, or --key. {create} creates one"
    )
