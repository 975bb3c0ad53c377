"""A worker's connection to rank 0: the link, and what rank 0 has sent."""

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
    """Create it in a running event loop."""

    def __init__(self, link: Link, config: RankConfig, secret: bytes | None = None, nonce: str = "") -> None:
        """`nonce` is the one in this rank's Join."""
        loop = asyncio.get_running_loop()
        self._link = link
        self._config = config
        self._secret = secret
        self._nonce = nonce
        self.started: Future[None] = loop.create_future()
        """All ranks have joined."""
        self.lost: Future[str] = loop.create_future()
        """Why the connection was lost or refused."""
        self.admitted = False
        self.reason = ""
        """Why rank 0 is not ready; empty if it is."""
        self.meant_to_end = False
        """Whether rank 0 shuts its engine down on purpose, so that the other engines exit too."""
        self.another_ended = False
        """Whether the engine of another rank exited without a stop signal."""
        self._tasks = [loop.create_task(self._listen())]

    def say(self, message: Message) -> None:
        """Sends the message to rank 0."""
        self._link.send(message)

    def end(self) -> None:
        """Closes the connection."""
        for task in self._tasks:
            task.cancel()
        self._link.close()

    async def _listen(self) -> None:
        try:
            if self._secret is not None:
                await self._prove(self._secret)
            self._tasks.append(asyncio.get_running_loop().create_task(self._beat(self._config.pace.beat)))
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
        """Proves that this rank knows the secret. Raises Lost if rank 0 does not know it."""
        rank, digest = self._config.rank, self._config.digest
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


async def connect_to_leader(config: RankConfig) -> LeaderConnection | None:
    """A new connection, with this rank's Join sent; None if rank 0 can't be reached. Raises SecretUnusable."""
    secret = read_secret(config.secret)
    nonce = new_nonce() if secret is not None else ""
    try:
        async with asyncio.timeout(config.pace.answer):
            reader, writer = await asyncio.open_connection(config.master, config.ports.group, limit=LINE_BYTES)
    except (TimeoutError, OSError):
        return None
    link = Link(reader, writer, config.pace.silence)
    link.send(Join(config.rank, config.digest, nonce))
    return LeaderConnection(link, config, secret, nonce)
