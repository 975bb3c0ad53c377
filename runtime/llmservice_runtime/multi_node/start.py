"""Replaces `serve` by the agent if a replica has several nodes."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import NoReturn

from llmservice_contract import engine_settings as rows
from llmservice_runtime.launcher import launcher
from llmservice_runtime.launcher.command import Command
from llmservice_runtime.launcher.pre_stop import DrainRequest
from llmservice_runtime.launcher.settings import Settings, WrongSettings
from llmservice_runtime.launcher.values import Problem
from llmservice_runtime.multi_node.rank_config import STARTUP_SECONDS, Ports, RankConfig
from llmservice_runtime.multi_node.secret import SecretUnusable, read_secret

DIGEST_CHARACTERS = 16
DISTRIBUTION = "llmservice-operator"
"""The Python distribution that the runtime is part of."""


def exec_agent(settings: Settings, program: str, command: Command, termination_log: Path) -> NoReturn:
    """Replaces this process by the agent of `settings`, whose engine is `program` with the command's arguments.

    A stop signal that arrives meanwhile stays pending for it. Raises OSError if Python cannot be started.
    """
    place = make_config(settings, digest(command.shared, metadata.version(DISTRIBUTION)), termination_log)
    signal.pthread_sigmask(signal.SIG_BLOCK, launcher.STOP_SIGNALS)
    agent = [sys.executable, "-m", "llmservice_runtime.multi_node", place.to_json()]
    os.execve(sys.executable, [*agent, program, *command.arguments], dict(command.environment))  # noqa: S606 - no shell


def check_secret(settings: Settings) -> None:
    """Checks the group's secret, if there is one. Raises WrongSettings."""
    try:
        read_secret(settings.values.get(rows.GROUP_SECRET) or "")
    except SecretUnusable as error:
        raise WrongSettings(Problem.of(f"GROUP_SECRET: {error}.", rows.GROUP_SECRET)) from error


def make_config(settings: Settings, digest: str, termination_log: Path) -> RankConfig:
    """The configuration of this host's agent, from `settings`."""
    drain, budget = DrainRequest.of(settings), settings.values.get(rows.STARTUP_BUDGET_SECONDS)
    return RankConfig(
        rank=settings.values[rows.NODE_RANK],
        nodes=settings.values[rows.NODES_PER_REPLICA],
        master=settings.values[rows.MASTER_ADDRESS],
        digest=digest,
        termination_log=str(termination_log),
        drain_seconds=drain.seconds,
        ports=Ports(http=drain.port),
        startup_seconds=STARTUP_SECONDS if budget is None else budget,
        secret=settings.values.get(rows.GROUP_SECRET) or "",
    )


def digest(shared: Sequence[str], version: str) -> str:
    """Digest of what all ranks of a group have in common: vLLM's arguments and the runtime's version."""
    return hashlib.sha256("\0".join((version, *shared)).encode()).hexdigest()[:DIGEST_CHARACTERS]
