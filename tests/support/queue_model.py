"""A simple model of a service with its Prometheus and its HPA, in simulated time, to test the scaling algorithm.

Requests arrive at random, wait in one queue, and use a slot of a ready replica for a while. The more slots of a replica
are in use, the longer the first token takes. New replicas need a cold start; the HPA is the one of `hpa_model`.
"""

import dataclasses
import datetime
import heapq
import random
from collections import deque
from collections.abc import Callable

from llmservice_operator.autoscaling import hpa_encoding, latency_algorithm
from llmservice_operator.autoscaling.algorithm import ReplicaBounds, ReplicaCounts, ScalingInputs
from llmservice_operator.autoscaling.latency import PERCENTILES, Latency, Target
from llmservice_operator.autoscaling.signals import Signals
from support.hpa_model import HPA

WINDOW = 60.0
PLACES = 8
"""Requests that one replica computes at once."""


@dataclasses.dataclass
class World:
    """One service. ``arrivals`` is the rate of requests at a time, per second."""

    arrivals: Callable[[float], float]
    target: Target
    bounds: ReplicaBounds
    replicas: int = 1
    cold_start: float = 90.0
    interval: float = 15.0
    seconds_of_a_request: float = 2.0
    seed: int = 1

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        self.spec = self.replicas
        self.ready_at = [0.0] * self.replicas
        self.queue: deque[float] = deque()
        self.running: list[float] = []
        self.seen: deque[tuple[float, float]] = deque()
        self.finished: deque[float] = deque()
        self.memory = latency_algorithm.initial_state(self.replicas, self.start)
        self.published_metric: hpa_encoding.Published | None = None
        self.autoscaler = HPA(self.bounds.minimum, self.bounds.maximum)
        self.history: list[tuple[float, int, int]] = []
        """Seconds, the algorithm's count, the HPA's count: at each change."""
        self.why: list[str] = []
        self.missed = self.served = 0

    def run(self, seconds: float) -> "World":
        """Let so much time pass."""
        look, arrival, now = 0.0, self._next_arrival(0.0), 0.0
        while now < seconds:
            now = min(look, arrival, self.running[0] if self.running else seconds, seconds)
            while self.running and self.running[0] <= now:
                heapq.heappop(self.running)
                self.finished.append(now)
            if arrival <= now:
                self.queue.append(now)
                arrival = self._next_arrival(now)
            self._serve(now)
            if look <= now:
                self._look(now)
                look += self.interval
        return self

    def serving(self, now: float) -> int:
        return sum(at <= now for at in self.ready_at)

    def _next_arrival(self, now: float) -> float:
        """Thinning: candidates at 50 a second, of which the rate's part is taken."""
        while True:
            now += self.random.expovariate(50)
            if self.random.random() < self.arrivals(now) / 50 or now > 1e4:
                return now

    def _serve(self, now: float) -> None:
        places = PLACES * self.serving(now)
        while self.queue and len(self.running) < places:
            came = self.queue.popleft()
            crowding = len(self.running) / places
            first_token = now - came + 0.05 * (1 + crowding)
            self.seen.append((now, first_token))
            self.served += 1
            self.missed += first_token > self.target.seconds
            heapq.heappush(self.running, now + self.random.uniform(0.5, 1.5) * self.seconds_of_a_request)

    def _look(self, now: float) -> None:
        while self.finished and self.finished[0] < now - WINDOW:
            self.finished.popleft()
        while self.seen and self.seen[0][0] < now - WINDOW:
            self.seen.popleft()
        times = sorted(time for _, time in self.seen)
        latencies = {p: times[min(len(times) - 1, len(times) * p // 100)] for p in PERCENTILES} if times else {}
        serving = self.serving(now)
        signals = Signals(
            {Latency.TIME_TO_FIRST_TOKEN: latencies} if latencies else {},
            finished_per_second=len(self.finished) / WINDOW,
            running=len(self.running),
            waiting=len(self.queue),
            pods=serving,
        )
        at = self.start + datetime.timedelta(seconds=now)
        replicas = ReplicaCounts(self.spec, len(self.ready_at), serving)
        inputs = ScalingInputs(signals if serving else None, (self.target,), self.bounds, replicas, at)
        self.memory, decision = latency_algorithm.step(self.memory, inputs)
        self.published_metric = hpa_encoding.published(
            decision.count,
            1.0 if decision.load is None else decision.load,
            current=len(self.ready_at),
            tolerance=0,
            minimum=self.bounds.minimum,
            maximum=self.bounds.maximum,
            before=self.published_metric,
        )
        spec = self.autoscaler.sync(at, self.spec, len(self.ready_at), [self.published_metric.milli]).replicas
        if decision.changed:
            self.why.append(f"{now:.0f} s: {decision.why}")
        if decision.changed or spec != self.spec:
            self.history.append((now, decision.count, spec))
        self.spec = spec
        self.ready_at = self.ready_at[:spec] + [now + self.cold_start] * (spec - len(self.ready_at))

    def specs(self) -> list[int]:
        """The counts that the HPA wrote, one after the other."""
        found = [self.replicas]
        for _, _, spec in self.history:
            if spec != found[-1]:
                found.append(spec)
        return found
