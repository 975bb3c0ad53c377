"""Rank 0: waits for the other ranks, starts and ends with them, and reports its state to them."""

from __future__ import annotations

import asyncio
import time
from asyncio import Future, StreamReader, StreamWriter
from dataclasses import replace

from llmservice_contract.container import HEALTH_PATH, READY_PATH
from llmservice_runtime.launcher.launcher import DedupLogger
from llmservice_runtime.multi_node.engine_process import Engine
from llmservice_runtime.multi_node.futures import resolve_once, wait_any
from llmservice_runtime.multi_node.group_session import GroupSession
from llmservice_runtime.multi_node.group_state import GroupState, not_ready, overdue
from llmservice_runtime.multi_node.message import (
    LINE_BYTES,
    Beat,
    Challenge,
    Ended,
    Join,
    Link,
    Lost,
    NotAMessage,
    Proof,
    Stopping,
    TurnedAway,
    decode,
)
from llmservice_runtime.multi_node.pending_connections import PendingConnections
from llmservice_runtime.multi_node.probe_server import probe_http
from llmservice_runtime.multi_node.rank_config import RankConfig, is_culprit, ranks
from llmservice_runtime.multi_node.secret import SecretUnusable, is_proof, new_nonce, proof, read_secret


class Leader:
    """To be made in a running event loop. `stop` happens with the signal that asks this container to stop."""

    def __init__(self, place: RankConfig, engine: Engine, stop: Future[int]) -> None:
        self._place = place
        self._engine = engine
        self._stop = stop
        self._door = PendingConnections()
        self._teller = DedupLogger()
        self._gathering = GroupSession(place.nodes)
        self._standing = GroupState(place.nodes, self._gathering.missing)

    async def health(self) -> str:
        """Why the container should be started again; empty if it should not."""
        standing, place = self._standing, self._place
        if overdue(standing, time.monotonic(), place.startup_seconds):
            return f"does not serve {place.startup_seconds:g} s after its start"
        if standing.served and not standing.stopping:
            return await probe_http(place.ports.http, HEALTH_PATH, place.pace.answer)
        return ""

    async def ready(self) -> str:
        """Why no requests should come; empty if they should."""
        return not_ready(self._standing) or await probe_http(
            self._place.ports.http, READY_PATH, self._place.pace.answer
        )

    async def run(self) -> int:
        """Returns the container's exit code."""
        server = await asyncio.start_server(self._greet, port=self._place.ports.group, limit=LINE_BYTES)
        beating = asyncio.create_task(self._beat())
        try:
            while not self._stop.done():
                self._wait_for_all()
                self._gathering.open()
                await wait_any(self._gathering.started, self._stop)
                if not self._stop.done() and (code := await self._live(self._gathering)) is not None:
                    return code
            return 128 + self._stop.result()
        finally:
            beating.cancel()
            server.close()

    async def _live(self, gathering: GroupSession) -> int | None:
        """Runs the engine once. Returns the exit code if the container ends with it, None if it does not."""
        self._teller.say("the group is complete: starting")
        self._engine.start()
        self._stand(replace(self._standing, started=time.monotonic()))
        watching = asyncio.create_task(self._watch())
        await wait_any(self._engine.ended, gathering.broken, gathering.asked, self._stop)
        if not self._engine.ended.done() and not gathering.broken.done():
            await self._finish(gathering)
        elif not gathering.broken.done():
            await self._judge(gathering)
        watching.cancel()
        return await self._end(gathering)

    async def _judge(self, gathering: GroupSession) -> None:
        """The engine ended by itself: waits whether that was the fault of another one."""
        pace = self._place.pace
        if is_culprit(self._engine.ended.result(), gathering.ended.done()):
            gathering.note_end(self._place.rank)
            await wait_any(gathering.broken, within=pace.verdict)
        else:
            await wait_any(gathering.broken, within=pace.silence)

    async def _finish(self, gathering: GroupSession) -> None:
        """The ordered end: the engine drains while all ranks still compute."""
        who = "this rank" if self._stop.done() else f"rank {gathering.asked.result()}"
        self._teller.say(f"{who} received a stop signal: draining the engine")
        self._stand(replace(self._standing, stopping=True))
        gathering.tell(Stopping())
        self._engine.stop()
        await wait_any(self._engine.ended, gathering.broken)

    async def _end(self, gathering: GroupSession) -> int | None:
        """Nothing is left of the engine after this, and the others may join anew."""
        code = self._engine.ended.result() if self._engine.ended.done() else None
        meant = self._standing.stopping
        if code is not None and not meant and not gathering.broken.done():
            self._teller.say(f"the engine ended by itself with exit code {code}: this container ends with it")
            await self._engine.end()
            return code
        if gathering.broken.done():
            self._teller.say(f"{gathering.broken.result()}: stopping the engine and waiting for it")
        if not self._stop.done():
            self._gathering = GroupSession(self._place.nodes)
            self._standing = GroupState(self._place.nodes, self._gathering.missing)
            gathering.end()
        await self._engine.end()
        self._engine.forget_cause()
        return self._engine.ended.result() if self._stop.done() else None

    async def _watch(self) -> None:
        """Finds out when the engine serves."""
        port, pace = self._place.ports.http, self._place.pace
        while await probe_http(port, HEALTH_PATH, pace.answer):
            await wait_any(self._engine.ended, within=pace.retry)
        self._teller.say("the group serves")
        self._stand(replace(self._standing, served=True))

    async def _greet(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Hears who has connected, and then the rank as long as its link holds."""
        try:
            line = await self._door.first(reader, writer, b"\n")
            if line is not None and isinstance(join := decode(line), Join):
                link = Link(reader, writer, self._place.pace.silence)
                if await self._knows_secret(join, link, reader, writer):
                    await self._hear(join, link)
        except SecretUnusable as error:
            self._teller.say(str(error))
        except (NotAMessage, Lost):
            pass
        finally:
            writer.close()

    async def _knows_secret(self, join: Join, link: Link, reader: StreamReader, writer: StreamWriter) -> bool:
        """Whether who joins has shown that it knows the group's secret, if that has one. Raises SecretUnusable."""
        secret = read_secret(self._place.secret)
        if secret is None:
            if join.nonce:
                link.send(TurnedAway("rank 0 has no secret, and this rank has one"))
            return not join.nonce
        said = None
        if join.nonce:
            nonces = (join.nonce, new_nonce())
            link.send(Challenge(nonces[1], proof(secret, "leader", join.rank, join.digest, nonces)))
            said = await self._door.first(reader, writer, b"\n")
            expected = proof(secret, "worker", join.rank, join.digest, nonces)
            if said is not None and isinstance(answer := decode(said), Proof) and is_proof(answer.proof, expected):
                return True
        # A rank of this group that rank 0 has another secret than hangs up by itself, and says why.
        link.send(TurnedAway("it does not know the group's secret"))
        return False

    async def _hear(self, join: Join, link: Link) -> None:
        """Raises Lost at the end of the link."""
        gathering = self._gathering
        if reason := self._refusal(join):
            link.send(TurnedAway(reason))
            return
        gathering.admit(join.rank, link)
        self._wait_for_all()
        try:
            while True:
                match await link.receive():
                    case Stopping():
                        resolve_once(gathering.asked, join.rank)
                    case Ended():
                        gathering.note_end(join.rank)
        except Lost as lost:
            gathering.lose(join.rank, str(lost))
            self._wait_for_all()
            raise

    def _refusal(self, join: Join) -> str:
        """Why it may not join; empty if it may."""
        if join.rank not in range(1, self._place.nodes):
            return f"there is no rank {join.rank} of {self._place.nodes}"
        if join.digest != self._place.digest:
            self._teller.say(f"rank {join.rank} is turned away: it would run something else")
            return "rank 0 would run something else"
        return f"rank {join.rank} is there" if self._gathering.has(join.rank) else ""

    def _wait_for_all(self) -> None:
        """Logs which ranks are missing, as long as no engine runs."""
        if self._standing.started is None:
            self._stand(GroupState(self._place.nodes, self._gathering.missing))
            if missing := self._standing.missing:
                self._teller.say(f"rank 0 of {self._place.nodes} waits for {ranks(missing)}")

    def _stand(self, standing: GroupState) -> None:
        """Rank 0 stands so from now on, and the others hear of it."""
        self._standing = standing
        self._tell_standing()

    def _tell_standing(self) -> None:
        self._gathering.tell(Beat(not_ready(self._standing)))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._place.pace.beat)
            self._tell_standing()
