"""Runs hostile metrics beside good services that are scaled, with the operator as a separate process.

In each case the latencies of the good services change, and the operator must export the new latencies and loads within
a few intervals. Rows are put into the answers of a stand-in for Prometheus; series are scraped by a real one.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from builders.services import a_service
from hostile_parts.configs_run import FIGURES
from hostile_parts.fake_cluster import OWNER, FakeCluster
from hostile_parts.figures import Case, not_run
from hostile_parts.metrics_cases import EVIL, NAMESPACE, MetricsCase
from hostile_parts.metrics_pages import BOUNDS, Pages
from hostile_parts.operator_process import OperatorProcess
from llmservice_operator.autoscaling import external_metrics
from support.prometheus import FakePrometheus
from support.prometheus_server import SCRAPE_SECONDS, PrometheusServer

PART = "metrics"
GOOD, GOOD_NAMESPACE = 10, "good"
LATE_SECONDS = 5.0
"""An interval is a second: what the operator has not followed by then, it was kept from."""
SCRAPED_LATE_SECONDS = 9.0
"""The same behind a real Prometheus, which scrapes each second and takes rates over WINDOW_SECONDS."""
WINDOW_SECONDS = 10
SETTINGS = {
    "LLMSERVICE_FIT": "Off",
    "LLMSERVICE_NAMESPACES": f"{GOOD_NAMESPACE},{NAMESPACE}",
    "LLMSERVICE_SCALING_ADAPTER": "prometheusAdapter",
    "LLMSERVICE_SCALING_INTERVAL_SECONDS": "1",
    "LLMSERVICE_PROMETHEUS_WINDOW_SECONDS": str(WINDOW_SECONDS),
}
AGAIN = 2
FIRST_STEP = 3
"""Of the bounds of the good services' latencies."""


def _asks_for(query: str, namespace: str) -> bool:
    """Whether a query is for all namespaces, or this one among others."""
    found = re.search(r'namespace=~"([a-z0-9|-]+)"', query)
    return found is None or namespace in found[1].split("|")


def _bounds(query: str) -> frozenset[str] | None:
    """The bounds of buckets that a query asks for; None for all."""
    found = re.search(r'le=~"([^"]*)"', query)
    return frozenset(re.sub(r"\[(.)\]", r"\1", found[1]).split("|")) if found else None


class HostileAnswers(FakePrometheus):
    """A stand-in for Prometheus whose answers have a case's rows as well."""

    case: MetricsCase | None = None

    def set_case(self, case: MetricsCase | None) -> None:
        """From the next query on."""
        with self._lock:
            self.case = case
            self._rendered.clear()

    def _data(self, name: str, query: str) -> dict[str, Any]:
        found = super()._data(name, query)
        answers = self.case.answers if self.case is not None else None
        more = answers(name) if answers is not None and _asks_for(query, NAMESPACE) else ()
        bounds = _bounds(query)
        found["result"] += [
            {"metric": dict(labels), "value": [1.0, value]}
            for labels, value in more
            if bounds is None or labels.get("le", "+Inf") in bounds
        ]
        return found


class Bench:
    """The operator on a fake cluster and one Prometheus. ``follow`` makes the good services' latencies other ones and
    returns those whose export did not follow."""

    def __init__(self, directory: Path, url: str, late: float) -> None:
        self._cluster = FakeCluster(directory, lambda _: None)
        settings = SETTINGS | {"LLMSERVICE_PROMETHEUS_URL": url}
        self._operator = OperatorProcess(self._cluster.kubeconfig, directory, settings)
        self._late = late
        self.rss: list[float] = []

    def __enter__(self) -> Bench:
        self._cluster.ready = 1
        self._cluster.__enter__()
        for namespace, name in [(GOOD_NAMESPACE, good_name(number)) for number in range(GOOD)] + [(NAMESPACE, EVIL)]:
            built = a_service(name, namespace).on_cpu().scaled(1, 8).with_replicas(1)
            self._cluster.apply(built.build())
        self._operator.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._operator.kill()
        self._cluster.__exit__()

    def run(self, case: MetricsCase, expected: Callable[[float | None], bool], name: str) -> Case:
        """The outcome of a case that is in force already; ``expected`` says whether a good service's exported latency
        is what it should be by now."""
        self._operator.forget_stalls()
        began, lagging = time.monotonic(), {good_name(number) for number in range(GOOD)}
        while lagging and time.monotonic() - began < self._late and self._operator.running:
            exported = self._exported()
            for each in list(lagging):
                if expected(exported[0].get(each)) and exported[1].get(each) is not None:
                    lagging.discard(each)
            time.sleep(0.05)
        took = time.monotonic() - began
        stall = self._operator.longest_stall() if self._operator.running else self._late
        notes: dict[str, Any] = {"affected": sorted(lagging)} if lagging else {}
        if not self._operator.running:
            notes["operator"] = "ended"
            self._operator.start()
        self.rss.append(self._operator.rss_mib())
        figures = {FIGURES[0]: round(stall * 1000, 1), FIGURES[1]: float(len(lagging))}
        return Case(PART, name, case.family, self._said(), took * 1000, figures, notes)

    def _said(self) -> str:
        """What is said of the hostile service."""
        service = self._cluster.read(OWNER, NAMESPACE, EVIL) or {}
        conditions = (service.get("status") or {}).get("conditions") or ()
        found = next((each for each in conditions if each["type"] == "ScalingActive"), None)
        return "" if found is None else f"{found['status']} {found['reason']}: {found.get('message', '')}"[:200]

    def _exported(self) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """The good services' exported p99 of the time to the first token, and load."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self._operator.metrics_port}/metrics", timeout=10
            ) as answer:
                page = answer.read().decode()
        except OSError:
            return {}, {}
        latencies: dict[str, float] = {}
        loads: dict[str, float] = {}
        for line in page.splitlines():
            found = re.fullmatch(r"(llmservice_\w+)\{(.*)\} (\S+)", line)
            if found is None or f'{external_metrics.NAMESPACE_LABEL}="{GOOD_NAMESPACE}"' not in found[2]:
                continue
            name = re.search(rf'(?:^|,){external_metrics.SERVICE_LABEL}="([^"]*)"', found[2])
            if name and found[1] == external_metrics.LOAD:
                loads[name[1]] = float(found[3])
            if name and found[1] == "llmservice_time_to_first_token_seconds" and '"p99"' in found[2]:
                latencies[name[1]] = float(found[3])
        return latencies, loads


def good_name(number: int) -> str:
    """Of a good service."""
    return f"good-{number}"


def run(cases: Sequence[MetricsCase], say: Callable[[str], None], deadline: float) -> Iterator[Case]:
    """Each case's outcome; those that the time does not suffice for are not run."""
    answered = [case for case in cases if case.answers is not None]
    scraped = [case for case in cases if case.answers is None]
    for done, found in enumerate(itertools.chain(_answered(answered, deadline), _scraped(scraped, deadline)), 1):
        bad = f" MISSED {', '.join(found.missed)}" if found.missed else ""
        stall = found.figures[FIGURES[0]]
        say(f"{done}/{len(cases)} {found.name}: {found.ms:.0f} ms, stall {stall:.0f} ms: {found.verdict}{bad}")
        yield found


def _answered(cases: Sequence[MetricsCase], deadline: float) -> Iterator[Case]:
    if not cases:
        return
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hostile-")))
        fake = stack.enter_context(HostileAnswers())
        for number in range(GOOD):
            fake.set(GOOD_NAMESPACE, good_name(number), ttft=0.1, running=1, finished=1)
        bench = stack.enter_context(Bench(directory, fake.url, LATE_SECONDS))
        latency = 0.1

        def once(case: MetricsCase) -> Case:
            nonlocal latency
            latency = round(0.1 + (latency - 0.1 + 0.001) % 0.05, 3)
            fake.set_case(case)
            for number in range(GOOD):
                fake.set(GOOD_NAMESPACE, good_name(number), ttft=latency)
            now = latency
            found = bench.run(case, lambda value: value is not None and abs(value - now) < 1e-4, case.name)
            fake.set_case(None)
            return found

        once(MetricsCase("first", "none", lambda _: ()))
        yield from _with_repeats(cases, once, deadline)


def _scraped(cases: Sequence[MetricsCase], deadline: float) -> Iterator[Case]:
    if not cases:
        return
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hostile-")))
        page = Pages(GOOD_NAMESPACE, [good_name(number) for number in range(GOOD)])
        stack.enter_context(page)
        server = PrometheusServer(directory)
        server.scrape(page.address)
        server.start()
        stack.callback(server.stop)
        bench = stack.enter_context(Bench(directory, server.url, SCRAPED_LATE_SECONDS))
        step = FIRST_STEP

        def once(case: MetricsCase) -> Case:
            nonlocal step
            step += 1
            if step == len(BOUNDS):  # a p99 rises at once, and falls only with the window's end
                step = FIRST_STEP
                page.change((), step)
                time.sleep(WINDOW_SECONDS + SCRAPE_SECONDS)
                step += 1
            page.change(case.series, step - 1)
            if case.series:
                time.sleep(2.5 * SCRAPE_SECONDS)  # they are scraped twice before anything is asked
            page.change(case.series, step)
            low, high = BOUNDS[step - 1], BOUNDS[step]
            return bench.run(case, lambda value: value is not None and low < value <= high, case.name)

        once(MetricsCase("first", "none"))
        yield from _with_repeats(cases, once, deadline)


def _with_repeats(cases: Sequence[MetricsCase], once: Callable[[MetricsCase], Case], deadline: float) -> Iterator[Case]:
    for case in cases:
        if time.monotonic() > deadline:
            yield not_run(PART, case.name, case.family, FIGURES, "no time left")
            continue
        found = once(case)
        for _ in range(AGAIN):
            if not found.missed:
                break
            # The machine's own pauses only add to it.
            found = min(found, once(case), key=lambda each: (each.figures[FIGURES[1]], each.figures[FIGURES[0]]))
        yield found
