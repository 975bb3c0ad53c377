"""Measures a service while one replica runs: bursts of streamed requests, one burst after the other.

Prints one line of JSON: the time to the first token of every request, and the seconds from one token to the next. It
has few requests and two limits, so it always ends. One file without dependencies, so that it can be mounted into a
pod and run there.

    measure.py http://chat --model chat --burst 8 [--bursts 8] [--max-tokens 64]
"""

import argparse
import json
import statistics
import sys
import threading
import time
import urllib.request
from collections.abc import Callable

PROMPT = "The above copyright notice and this permission notice shall be"
ANSWER_SECONDS = 60.0
"""Limit of one answer."""
MOST_SECONDS = 120.0
"""No burst begins later."""


class Answer:
    """One streamed answer."""

    def __init__(self) -> None:
        self.first_seconds: float | None = None
        self.between_seconds: float | None = None
        self.error = ""

    def read(self, request: urllib.request.Request) -> None:
        """Ask, and time what comes."""
        began = time.monotonic()
        tokens, first, last = 0, began, began
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
                for line in answer:
                    if not line.startswith(b"data: {"):
                        continue
                    last = time.monotonic()
                    tokens += 1
                    if tokens == 1:
                        first = last
        except OSError as error:
            self.error = f"{type(error).__name__}: {error}"
            return
        if tokens < 2:
            self.error = f"{tokens} parts in a stream"
            return
        self.first_seconds = first - began
        self.between_seconds = (last - first) / (tokens - 1)


def burst(request: Callable[[], urllib.request.Request], size: int) -> list[Answer]:
    """So many requests at once, answered."""
    answers = [Answer() for _ in range(size)]
    threads = [threading.Thread(target=answer.read, args=(request(),), daemon=True) for answer in answers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(ANSWER_SECONDS)
    return answers


def main() -> int:
    """Measure and print. 1 if an answer failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="the service, such as http://chat")
    parser.add_argument("--model", required=True, help="name under which the model is served")
    parser.add_argument("--burst", type=int, required=True, help="requests at once")
    parser.add_argument("--bursts", type=int, default=8, help="how many bursts (8)")
    parser.add_argument("--max-tokens", type=int, default=64, help="tokens of each answer (64)")
    options = parser.parse_args()
    body = {"model": options.model, "prompt": PROMPT, "max_tokens": options.max_tokens}
    body |= {"ignore_eos": True, "stream": True}
    url = options.url.rstrip("/") + "/v1/completions"

    def request() -> urllib.request.Request:
        return urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})

    deadline = time.monotonic() + MOST_SECONDS
    burst(request, options.burst)  # the first one warms up what is compiled or cached
    answers: list[Answer] = []
    for _ in range(options.bursts):
        if time.monotonic() < deadline:
            answers += burst(request, options.burst)
    failed = [answer.error or "no answer in time" for answer in answers if answer.first_seconds is None]
    if failed or not answers:
        print(f"{len(failed)} of {len(answers)} answers failed: {failed[0] if failed else 'too slow'}", file=sys.stderr)
        return 1
    firsts = sorted(answer.first_seconds for answer in answers if answer.first_seconds is not None)
    between = statistics.median(answer.between_seconds for answer in answers if answer.between_seconds is not None)
    print(json.dumps({"first_token_seconds": firsts, "between_tokens_seconds": between}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
