"""What an agent has to know, as one frozen value that fits into an argument."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from llmservice_contract import causes
from llmservice_contract.container import GROUP_PORT, PROBE_PORT

STARTUP_SECONDS = 1800
"""How long an engine may load where STARTUP_BUDGET_SECONDS is absent."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The agent's times, in seconds."""

    beat: float = 2.0
    """Between two signs of life on a link."""
    silence: float = 10.0
    """After so long without one, a link is lost."""
    retry: float = 1.0
    """Between two attempts to join, and between two probes of an engine that loads."""
    verdict: float = 3.0
    """What an engine that ended by itself is given to turn out as the victim of another one's end; `silence` where it
    seems to be one."""
    slack: float = 10.0
    """What an ordered end of rank 0 may take beyond its drain."""
    grace: float = 1.0
    """What the processes of a killed launcher get to end by themselves."""
    answer: float = 5.0
    """Timeout of a probe of the engine, and of a connection to rank 0."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where this host listens."""

    http: int
    """The engine's own; only rank 0 listens there."""
    group: int = GROUP_PORT
    """Rank 0's, the same for all."""
    probe: int = PROBE_PORT


@dataclass(frozen=True, slots=True)
class RankConfig:
    """One rank's place in its group."""

    rank: int
    nodes: int
    master: str
    """Host name or address of rank 0."""
    digest: str
    """Of what the ranks run; those of one group have the same."""
    termination_log: str
    drain_seconds: float
    """How long the engine may take to finish its work, the time as a lame duck included."""
    ports: Ports
    startup_seconds: float = STARTUP_SECONDS
    secret: str = ""
    """The file with the group's secret; empty if it has none. Arguments are no place for the secret itself."""
    pace: Timeouts = field(default_factory=Timeouts)

    def to_json(self) -> str:
        """The argument."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> RankConfig:
        """The place in an argument that `to_json` made."""
        values = json.loads(text)
        return RankConfig(**{**values, "ports": Ports(**values["ports"]), "pace": Timeouts(**values["pace"])})


def is_culprit(code: int, another_ended: bool) -> bool:
    """Whether an engine that ended by itself with this exit code seems to be the first of its group to fail."""
    return not another_ended and code != causes.RANKS_LOST.exit_code


def ranks(numbers: Iterable[int]) -> str:
    """Some ranks in words: "rank 1", "ranks 1, 2 and 3"."""
    *most, last = sorted(numbers)
    return f"ranks {', '.join(map(str, most))} and {last}" if most else f"rank {last}"
