"""What a rank above 0 has with rank 0: a link, and what came over it."""

from __future__ import annotations

import asyncio
from asyncio import Future

from llmservice_runtime.multi_node.futures import resolve_once
from llmservice_runtime.multi_node.message import (
    LINE_BYTES,
    Beat,
    Challenge,
    Ended,
    Join,
    Link,
    Lost,
    Message,
    Proof,
    Start,
    Stopping,
    TurnedAway,
)
from llmservice_runtime.multi_node.rank_config import RankConfig
from llmservice_runtime.multi_node.secret import is_proof, new_nonce, proof, read_secret


class LeaderConnection:
    """To be made in a running event loop."""

    def __init__(self, link: Link, place: RankConfig, secret: bytes | None = None, nonce: str = "") -> None:
        """`nonce` is what this rank's Join had."""
        loop = asyncio.get_running_loop()
        self._link = link
        self._place = place
        self._secret = secret
        self._nonce = nonce
        self.started: Future[None] = loop.create_future()
        """All ranks have joined."""
        self.lost: Future[str] = loop.create_future()
        """Why the link is of no use any more."""
        self.admitted = False
        self.reason = ""
        """Why rank 0 does not serve; empty if it does."""
        self.meant_to_end = False
        """Whether rank 0 stops its engine in order, so that the others end too."""
        self.another_ended = False
        """Whether the engine of another rank ended by itself."""
        self._tasks = [loop.create_task(self._listen())]

    def say(self, message: Message) -> None:
        """Sends it to rank 0."""
        self._link.send(message)

    def end(self) -> None:
        """Hangs up."""
        for task in self._tasks:
            task.cancel()
        self._link.close()

    async def _listen(self) -> None:
        try:
            if self._secret is not None:
                await self._prove(self._secret)
            self._tasks.append(asyncio.get_running_loop().create_task(self._beat(self._place.pace.beat)))
            while True:
                match await self._link.receive():
                    case TurnedAway(reason):
                        raise Lost(reason)
                    case Start():
                        resolve_once(self.started, None)
                    case Stopping():
                        self.meant_to_end = True
                    case Ended():
                        self.another_ended = True
                    case Beat(reason):
                        self.admitted, self.reason = True, reason
        except Lost as lost:
            resolve_once(self.lost, str(lost))

    async def _prove(self, secret: bytes) -> None:
        """Raises Lost if the other end does not know the secret."""
        rank, digest = self._place.rank, self._place.digest
        match await self._link.receive():
            case TurnedAway(reason):
                raise Lost(reason)
            case Challenge(nonce, given):
                nonces = (self._nonce, nonce)
                if not is_proof(given, proof(secret, "leader", rank, digest, nonces)):
                    raise Lost("rank 0 has another secret")
                self._link.send(Proof(proof(secret, "worker", rank, digest, nonces)))
            case _:
                raise Lost("rank 0 has no secret, and this rank has one")

    async def _beat(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            self._link.send(Beat())


async def tie(place: RankConfig) -> LeaderConnection | None:
    """A tie on which this rank has said who it is; None if rank 0 can't be reached. Raises SecretUnusable."""
    secret = read_secret(place.secret)
    nonce = new_nonce() if secret is not None else ""
    try:
        async with asyncio.timeout(place.pace.answer):
            reader, writer = await asyncio.open_connection(place.master, place.ports.group, limit=LINE_BYTES)
    except (TimeoutError, OSError):
        return None
    link = Link(reader, writer, place.pace.silence)
    link.send(Join(place.rank, place.digest, nonce))
    return LeaderConnection(link, place, secret, nonce)
