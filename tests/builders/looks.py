"""Calls the scaling algorithm repeatedly for one service, in tests: ``Watch(2).look(busy(0.4), serving=2)``."""

import datetime

from llmservice_operator.autoscaling import latency_algorithm
from llmservice_operator.autoscaling.algorithm import ReplicaBounds, ReplicaCounts, ScalingDecision, ScalingInputs
from llmservice_operator.autoscaling.latency import Latency, Target
from llmservice_operator.autoscaling.signals import Signals

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
FIRST_TOKEN = Target(Latency.TIME_TO_FIRST_TOKEN, 99, 0.2)
BETWEEN_TOKENS = Target(Latency.INTER_TOKEN_LATENCY, 90, 0.05)
IDLE = Signals(latencies={}, finished_per_second=0.0, running=0.0, waiting=0.0, pods=1000)


def busy(
    first_token: float | None = None, *, running: float = 100, waiting: float = 0, rate: float = 10, pods: int = 1000
) -> Signals:
    """Signals of a service whose p99 of the time to the first token is so many seconds."""
    latencies = {Latency.TIME_TO_FIRST_TOKEN: {99: first_token}} if first_token is not None else {}
    return Signals(latencies, finished_per_second=rate, running=running, waiting=waiting, pods=pods)


class Watch:
    """One service and the algorithm's memory of it."""

    def __init__(self, count: int, minimum: int = 1, maximum: int = 64, targets: tuple[Target, ...] = (FIRST_TOKEN,)):
        self.now = START
        self.memory = latency_algorithm.initial_state(count, self.now)
        self.bounds = ReplicaBounds(minimum, maximum)
        self.targets = targets
        self.idle = 300.0
        self.serving = count
        self.decision = ScalingDecision(count, None, "", changed=False)

    @property
    def count(self) -> int:
        return self.decision.count

    def look(
        self, signals: Signals | None, *, serving: int | None = None, wanted: int | None = None, after: float = 15
    ) -> ScalingDecision:
        """Look once, ``after`` seconds from the last time. Ready replicas stay as they were unless stated."""
        self.now += datetime.timedelta(seconds=after)
        self.serving = self.serving if serving is None else serving
        replicas = ReplicaCounts(self.memory.count if wanted is None else wanted, existing=64, ready=self.serving)
        inputs = ScalingInputs(signals, self.targets, self.bounds, replicas, self.now, idle=self.idle)
        self.memory, self.decision = latency_algorithm.step(self.memory, inputs)
        return self.decision

    def looks(
        self, signals: Signals | None, seconds: float, *, every: float = 15, serving: int | None = None
    ) -> list[int]:
        """Look for so long; the counts that differ from the one before."""
        counts = [self.memory.count]
        for _ in range(round(seconds / every)):
            self.look(signals, serving=serving, after=every)
            if self.count != counts[-1]:
                counts.append(self.count)
        return counts[1:]
