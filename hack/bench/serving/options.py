"""Options that all commands share, with their bounds."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

LONGEST_SECONDS = 3600.0
MOST_USERS = 4096


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the common options."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--url", default="http://localhost:8000", help="the server (http://localhost:8000)")
    made.add_argument("--model", required=True, help="name under which the model is served")
    made.add_argument("--api-key", help="key; the variable OPENAI_API_KEY, which no list of processes shows, is better")
    made.add_argument("--prompt-tokens", type=count, default=128, help="tokens of each prompt (128)")
    made.add_argument("--max-tokens", type=count, default=128, help="tokens of each answer (128)")
    made.add_argument("--temperature", type=float, default=0.0, help="sampling temperature (0)")
    made.add_argument(
        "--ignore-eos",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="every answer has --max-tokens tokens; vLLM knows it, other servers may not (on)",
    )
    made.add_argument("--seed", type=int, help="of prompts and arrivals; without it each run has others")
    made.add_argument("--timeout", type=seconds, default=600.0, help="seconds after which a request has failed (600)")
    made.add_argument("--metrics-url", help="its metrics (URL/metrics); an LLMService has them at port 8002")
    made.add_argument("--json", type=Path, metavar="FILE", help="file for the result")
    made.add_argument("--plot", type=Path, metavar="FILE.png", help="file for a picture of it")
    return made


def parse(made: argparse.ArgumentParser, arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line, with the key and the addresses settled."""
    options = made.parse_args(arguments)
    options.url = options.url.rstrip("/").removesuffix("/v1")
    if not options.url.startswith(("http://", "https://")):
        made.error(f"{options.url} is no URL of a server: it begins with http:// or https://")
    options.metrics_url = options.metrics_url or f"{options.url}/metrics"
    options.api_key = options.api_key or os.environ.get("OPENAI_API_KEY")
    return options


def sampling(options: argparse.Namespace) -> dict[str, Any]:
    """Fields of each request; `ignore_eos` is sent only if it is wanted."""
    return {"temperature": options.temperature} | ({"ignore_eos": True} if options.ignore_eos else {})


def count(text: str) -> int:
    """A whole number above 0."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError("it is a whole number above 0")
    return value


def users(text: str) -> int:
    """Requests in flight."""
    if (value := count(text)) > MOST_USERS:
        raise argparse.ArgumentTypeError(f"it is at most {MOST_USERS}")
    return value


def seconds(text: str) -> float:
    """A time that ends."""
    if not 0 < (value := float(text)) <= LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(f"it is above 0 and at most {LONGEST_SECONDS:g}")
    return value


def pause(text: str) -> float:
    """A time that may be 0."""
    return 0.0 if float(text) == 0 else seconds(text)
