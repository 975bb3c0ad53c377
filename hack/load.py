#!/usr/bin/env python3
"""Sends load to a service for a limited time: a fixed number of requests in flight.

With --every the requests are sent in bursts at that interval in seconds, with idle time in between. Without it each
answer is followed by the next request. Each request has its own connection, so that a Service spreads them over
replicas. After an error there is a pause. SIGTERM and Ctrl-C cancel everything at once. One file without dependencies,
so that it can be mounted into a pod and run there.

    hack/load.py http://chat.demo --model chat [--in-flight 8] [--every 4] [--seconds 60] [--max-tokens 128]
"""

import argparse
import http.client
import json
import signal
import statistics
import sys
import threading
import time
import urllib.request

PROMPT = "The above copyright notice and this permission notice shall be"
LONGEST_SECONDS = 1800.0
"""No load lasts longer, whatever is asked."""
MOST_IN_FLIGHT = 256
PAUSE_SECONDS = 0.5
"""Between a request that failed and the next one in its place."""
ANSWER_SECONDS = 120.0
"""Limit of one answer."""


class Load:
    """Requests in flight, from ``start`` on; they die with the process."""

    def __init__(self, request: urllib.request.Request, every: float = 0.0) -> None:
        self._request = request
        self._every = every
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._seconds: list[float] = []
        self._failures = 0
        self._last_failure = ""

    def start(self, in_flight: int) -> None:
        """Begin to ask."""
        for _ in range(in_flight):
            threading.Thread(target=self._ask_for_ever, daemon=True).start()

    def summary(self) -> str:
        """For people: what came back so far."""
        with self._lock:
            words = f"{len(self._seconds)} answers"
            if self._seconds:
                words += f", half of them within {statistics.median(self._seconds):.2f} s"
            words += f"; {self._failures} failures"
            return words + (f", the last: {self._last_failure}" if self._failures else "")

    def _ask_for_ever(self) -> None:
        while True:
            began = time.monotonic()
            try:
                with urllib.request.urlopen(self._request, timeout=ANSWER_SECONDS) as answer:
                    answer.read()
            except (OSError, http.client.HTTPException) as error:
                with self._lock:
                    self._failures += 1
                    self._last_failure = f"{type(error).__name__}: {error}"
                time.sleep(PAUSE_SECONDS)
            else:
                with self._lock:
                    self._seconds.append(time.monotonic() - began)
                if self._every:
                    time.sleep(self._every - (time.monotonic() - self._began) % self._every)


def main() -> int:
    """Put the load on, wait for its end, say what came back. 1 if nothing did."""
    options = parse()
    body = {"model": options.model, "prompt": PROMPT, "max_tokens": options.max_tokens, "ignore_eos": True}
    url = options.url.rstrip("/") + "/v1/completions"
    load = Load(
        urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"}), options.every
    )
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    pace = f" every {options.every:g} s" if options.every else ""
    print(f"{options.in_flight} requests in flight{pace} on {url}, for {options.seconds:g} s at most", flush=True)
    load.start(options.in_flight)
    ended.wait(options.seconds)
    words = load.summary()
    print(words, flush=True)
    return 1 if words.startswith("0 answers") else 0


def parse() -> argparse.Namespace:
    """The command line, within its bounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="the service, such as http://chat.demo")
    parser.add_argument("--model", required=True, help="name under which the model is served")
    parser.add_argument("--in-flight", type=int, default=8, help="requests at any time (8)")
    parser.add_argument("--every", type=float, default=0.0, help="seconds from one burst to the next; 0: no pause (0)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--max-tokens", type=int, default=128, help="tokens of each answer (128)")
    options = parser.parse_args()
    if not options.url.startswith(("http://", "https://")):
        parser.error(f"{options.url} is no URL of a service: it begins with http:// or https://")
    if not 0 < options.seconds <= LONGEST_SECONDS:
        parser.error(f"--seconds is above 0 and at most {LONGEST_SECONDS:g}")
    if not 1 <= options.in_flight <= MOST_IN_FLIGHT:
        parser.error(f"--in-flight is 1 to {MOST_IN_FLIGHT}")
    if not 0 <= options.every <= options.seconds:
        parser.error("--every is 0 or more, and at most --seconds")
    return options


if __name__ == "__main__":
    sys.exit(main())
