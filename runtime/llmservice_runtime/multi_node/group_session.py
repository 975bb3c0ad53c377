"""The session of a group: the ranks that have joined rank 0, from the first Join until one of them is lost.

Before the start a rank can leave without an effect; after it, the loss of one rank ends the session.
"""

from __future__ import annotations

import asyncio
from asyncio import Future

from llmservice_runtime.multi_node.futures import resolve_once
from llmservice_runtime.multi_node.message import Ended, Link, Message, Start


class GroupSession:
    """Create it in a running event loop."""

    def __init__(self, nodes: int) -> None:
        loop = asyncio.get_running_loop()
        self._links: dict[int, Link] = {}
        self._others = range(1, nodes)
        self._opened = False
        self.started: Future[None] = loop.create_future()
        """All ranks have joined and got the command to start."""
        self.broken: Future[str] = loop.create_future()
        """Which rank was lost after the start, and why."""
        self.asked: Future[int] = loop.create_future()
        """The rank that received a stop signal and asks rank 0 to drain first."""
        self.ended: Future[int] = loop.create_future()
        """The rank whose engine was the first to exit without a stop signal."""

    @property
    def missing(self) -> tuple[int, ...]:
        """The ranks that have not joined."""
        return tuple(rank for rank in self._others if rank not in self._links)

    def has(self, rank: int) -> bool:
        """Whether this rank has joined."""
        return rank in self._links

    def admit(self, rank: int, link: Link) -> None:
        """Adds a rank that is missing."""
        self._links[rank] = link
        self._start_if_complete()

    def open(self) -> None:
        """Rank 0 is ready to start: the session starts when all ranks have joined, which may be now."""
        self._opened = True
        self._start_if_complete()

    def lose(self, rank: int, why: str) -> None:
        """The connection of this rank is lost."""
        self._links.pop(rank, None)
        if self.started.done():
            resolve_once(self.broken, f"lost rank {rank} ({why})")

    def tell(self, message: Message, but: int = 0) -> None:
        """Sends the message to all ranks that have joined, except one."""
        for rank, link in self._links.items():
            if rank != but:
                link.send(message)

    def note_end(self, rank: int) -> None:
        """The engine of this rank exited first; the other ranks are notified, so that they do not report their own
        exits."""
        if not self.ended.done():
            resolve_once(self.ended, rank)
            self.tell(Ended(), but=rank)

    def end(self) -> None:
        """Closes all connections."""
        for link in self._links.values():
            link.close()

    def _start_if_complete(self) -> None:
        if self._opened and not self.missing:
            self.tell(Start())
            resolve_once(self.started, None)
