"""The configuration of an agent: one frozen value that is passed as an argument."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from llmservice_contract import causes
from llmservice_contract.container import GROUP_PORT, PROBE_PORT

STARTUP_SECONDS = 1800
"""Startup budget of the engine if STARTUP_BUDGET_SECONDS is absent."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The agent's times, in seconds."""

    beat: float = 2.0
    """Interval of heartbeats on a connection."""
    silence: float = 10.0
    """A connection is lost after this time without a message."""
    retry: float = 1.0
    """Between two attempts to join, and between two probes of an engine that loads."""
    verdict: float = 3.0
    """How long an agent whose engine exited waits for the message that another engine exited first; `silence` if its
    exit
    code already suggests it."""
    slack: float = 10.0
    """How long a graceful shutdown of rank 0 may take beyond its drain."""
    grace: float = 1.0
    """Time for the processes of a killed launcher to exit by themselves."""
    answer: float = 5.0
    """Timeout of a probe of the engine, and of a connection to rank 0."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports on which this host listens."""

    http: int
    """The port of vLLM's API; only rank 0 has it."""
    group: int = GROUP_PORT
    """The port of rank 0's agent."""
    probe: int = PROBE_PORT


@dataclass(frozen=True, slots=True)
class RankConfig:
    """One rank of a group."""

    rank: int
    nodes: int
    master: str
    """Host name or address of rank 0."""
    digest: str
    """Digest of what the ranks have in common; ranks with different digests never form a group."""
    termination_log: str
    drain_seconds: float
    """Drain time of the engine, including the time as a lame duck."""
    ports: Ports
    startup_seconds: float = STARTUP_SECONDS
    secret: str = ""
    """Path of the file with the group's secret; empty if there is none. Arguments are visible, so the secret is not
    one."""
    pace: Timeouts = field(default_factory=Timeouts)

    def to_json(self) -> str:
        """The argument."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> RankConfig:
        """The configuration from an argument that `to_json` made."""
        values = json.loads(text)
        return RankConfig(**{**values, "ports": Ports(**values["ports"]), "pace": Timeouts(**values["pace"])})


def is_culprit(code: int, another_ended: bool) -> bool:
    """Whether an engine that exited with this code is probably the first of its group to fail."""
    return not another_ended and code != causes.RANKS_LOST.exit_code


def ranks(numbers: Iterable[int]) -> str:
    """Some ranks in words: "rank 1", "ranks 1, 2 and 3"."""
    *most, last = sorted(numbers)
    return f"ranks {', '.join(map(str, most))} and {last}" if most else f"rank {last}"
