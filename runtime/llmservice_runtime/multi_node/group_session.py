"""One gathering of the ranks around rank 0, from the first that joins to the loss of any.

Until it starts, a rank that leaves just leaves; from then on it takes the whole gathering with it.
"""

from __future__ import annotations

import asyncio
from asyncio import Future

from llmservice_runtime.multi_node.futures import resolve_once
from llmservice_runtime.multi_node.message import Ended, Link, Message, Start


class GroupSession:
    """To be made in a running event loop."""

    def __init__(self, nodes: int) -> None:
        loop = asyncio.get_running_loop()
        self._links: dict[int, Link] = {}
        self._others = range(1, nodes)
        self._opened = False
        self.started: Future[None] = loop.create_future()
        """All have joined and got the command to start."""
        self.broken: Future[str] = loop.create_future()
        """Which rank was lost after that, and why."""
        self.asked: Future[int] = loop.create_future()
        """The rank that received a stop signal and wants the engine to finish first."""
        self.ended: Future[int] = loop.create_future()
        """Which rank's engine was the first to end by itself."""

    @property
    def missing(self) -> tuple[int, ...]:
        """The ranks that have not joined."""
        return tuple(rank for rank in self._others if rank not in self._links)

    def has(self, rank: int) -> bool:
        """Whether this rank has joined."""
        return rank in self._links

    def admit(self, rank: int, link: Link) -> None:
        """Takes a rank in that is missing."""
        self._links[rank] = link
        self._start_if_complete()

    def open(self) -> None:
        """Rank 0 is ready itself: it starts once all have joined, which may be now."""
        self._opened = True
        self._start_if_complete()

    def lose(self, rank: int, why: str) -> None:
        """The link of this rank is lost."""
        self._links.pop(rank, None)
        if self.started.done():
            resolve_once(self.broken, f"rank {rank} is gone ({why})")

    def tell(self, message: Message, but: int = 0) -> None:
        """Sends it to all that have joined, but to this one."""
        for rank, link in self._links.items():
            if rank != but:
                link.send(message)

    def note_end(self, rank: int) -> None:
        """The engine of this rank ended by itself; the others are notified: it is not their own exit."""
        if not self.ended.done():
            resolve_once(self.ended, rank)
            self.tell(Ended(), but=rank)

    def end(self) -> None:
        """Hangs up on all."""
        for link in self._links.values():
            link.close()

    def _start_if_complete(self) -> None:
        if self._opened and not self.missing:
            self.tell(Start())
            resolve_once(self.started, None)
