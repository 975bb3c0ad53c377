"""The leader, rank 0: waits for the workers, starts and stops its engine together with theirs, and reports its
state."""

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
    """Create it in a running event loop. `stop` is done when this container gets a stop signal."""

    def __init__(self, config: RankConfig, engine: Engine, stop: Future[int]) -> None:
        self._config = config
        self._engine = engine
        self._stop = stop
        self._pending = PendingConnections()
        self._log = DedupLogger()
        self._session = GroupSession(config.nodes)
        self._state = GroupState(config.nodes, self._session.missing)

    async def health(self) -> str:
        """Why the container should be restarted; empty if it is healthy."""
        state, config = self._state, self._config
        if overdue(state, time.monotonic(), config.startup_seconds):
            return f"the engine is not ready {config.startup_seconds:g} s after its start"
        if state.served and not state.stopping:
            return await probe_http(config.ports.http, HEALTH_PATH, config.pace.answer)
        return ""

    async def ready(self) -> str:
        """Why the replica is not ready; empty if it is."""
        return not_ready(self._state) or await probe_http(self._config.ports.http, READY_PATH, self._config.pace.answer)

    async def run(self) -> int:
        """Returns the container's exit code."""
        server = await asyncio.start_server(self._accept, port=self._config.ports.group, limit=LINE_BYTES)
        beating = asyncio.create_task(self._beat())
        try:
            while not self._stop.done():
                self._wait_for_all()
                self._session.open()
                await wait_any(self._session.started, self._stop)
                if not self._stop.done() and (code := await self._run_engine(self._session)) is not None:
                    return code
            return 128 + self._stop.result()
        finally:
            beating.cancel()
            server.close()

    async def _run_engine(self, session: GroupSession) -> int | None:
        """Runs the engine once. Returns the exit code if the container must exit, otherwise None."""
        self._log.say("all ranks have joined: starting the engine")
        self._engine.start()
        self._set_state(replace(self._state, started=time.monotonic()))
        watching = asyncio.create_task(self._watch())
        await wait_any(self._engine.ended, session.broken, session.asked, self._stop)
        if not self._engine.ended.done() and not session.broken.done():
            await self._drain(session)
        elif not session.broken.done():
            await self._wait_for_root_cause(session)
        watching.cancel()
        return await self._end(session)

    async def _wait_for_root_cause(self, session: GroupSession) -> None:
        """The engine exited without a stop signal: waits for the message that another rank's engine exited first."""
        pace = self._config.pace
        if is_culprit(self._engine.ended.result(), session.ended.done()):
            session.note_end(self._config.rank)
            await wait_any(session.broken, within=pace.verdict)
        else:
            await wait_any(session.broken, within=pace.silence)

    async def _drain(self, session: GroupSession) -> None:
        """Graceful shutdown: the engine drains while all ranks still compute."""
        who = "this rank" if self._stop.done() else f"rank {session.asked.result()}"
        self._log.say(f"{who} received a stop signal: draining the engine")
        self._set_state(replace(self._state, stopping=True))
        session.tell(Stopping())
        self._engine.stop()
        await wait_any(self._engine.ended, session.broken)

    async def _end(self, session: GroupSession) -> int | None:
        """Kills what is left of the engine; after this the other ranks may join again."""
        code = self._engine.ended.result() if self._engine.ended.done() else None
        meant = self._state.stopping
        if code is not None and not meant and not session.broken.done():
            self._log.say(f"the engine exited with code {code}: this container exits with the same code")
            await self._engine.end()
            return code
        if session.broken.done():
            self._log.say(f"{session.broken.result()}: stopping the engine and waiting for that rank")
        if not self._stop.done():
            self._session = GroupSession(self._config.nodes)
            self._state = GroupState(self._config.nodes, self._session.missing)
            session.end()
        await self._engine.end()
        self._engine.forget_cause()
        return self._engine.ended.result() if self._stop.done() else None

    async def _watch(self) -> None:
        """Waits until the engine is ready."""
        port, pace = self._config.ports.http, self._config.pace
        while await probe_http(port, HEALTH_PATH, pace.answer):
            await wait_any(self._engine.ended, within=pace.retry)
        self._log.say("the engine is ready")
        self._set_state(replace(self._state, served=True))

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Authenticates a connection, then receives the messages of its rank until it is lost."""
        try:
            line = await self._pending.first(reader, writer, b"\n")
            if line is not None and isinstance(join := decode(line), Join):
                link = Link(reader, writer, self._config.pace.silence)
                if await self._knows_secret(join, link, reader, writer):
                    await self._receive(join, link)
        except SecretUnusable as error:
            self._log.say(str(error))
        except (NotAMessage, Lost):
            pass
        finally:
            writer.close()

    async def _knows_secret(self, join: Join, link: Link, reader: StreamReader, writer: StreamWriter) -> bool:
        """Whether the worker proved that it knows the secret, if the group has one. Raises SecretUnusable."""
        secret = read_secret(self._config.secret)
        if secret is None:
            if join.nonce:
                link.send(TurnedAway("rank 0 has no secret, and this rank has one"))
            return not join.nonce
        said = None
        if join.nonce:
            nonces = (join.nonce, new_nonce())
            link.send(Challenge(nonces[1], proof(secret, "leader", join.rank, join.digest, nonces)))
            said = await self._pending.first(reader, writer, b"\n")
            expected = proof(secret, "worker", join.rank, join.digest, nonces)
            if said is not None and isinstance(answer := decode(said), Proof) and is_proof(answer.proof, expected):
                return True
        # A worker of this group with another secret closes the connection itself, and logs why.
        link.send(TurnedAway("it does not know the group's secret"))
        return False

    async def _receive(self, join: Join, link: Link) -> None:
        """Receives the messages of one rank. Raises Lost when the connection ends."""
        session = self._session
        if reason := self._refusal(join):
            link.send(TurnedAway(reason))
            return
        session.admit(join.rank, link)
        self._wait_for_all()
        try:
            while True:
                match await link.receive():
                    case Stopping():
                        resolve_once(session.asked, join.rank)
                    case Ended():
                        session.note_end(join.rank)
        except Lost as lost:
            session.lose(join.rank, str(lost))
            self._wait_for_all()
            raise

    def _refusal(self, join: Join) -> str:
        """Why the rank may not join; empty if it may."""
        if join.rank not in range(1, self._config.nodes):
            return f"there is no rank {join.rank} of {self._config.nodes}"
        if join.digest != self._config.digest:
            self._log.say(f"rejected rank {join.rank}: its configuration or version differs from that of rank 0")
            return "its configuration or version differs from that of rank 0"
        return f"rank {join.rank} has already joined" if self._session.has(join.rank) else ""

    def _wait_for_all(self) -> None:
        """Logs which ranks are missing, while no engine runs."""
        if self._state.started is None:
            self._set_state(GroupState(self._config.nodes, self._session.missing))
            if missing := self._state.missing:
                self._log.say(f"rank 0 of {self._config.nodes} waits for {ranks(missing)}")

    def _set_state(self, state: GroupState) -> None:
        """Sets the state of rank 0 and sends it to the other ranks."""
        self._state = state
        self._send_state()

    def _send_state(self) -> None:
        self._session.tell(Beat(not_ready(self._state)))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._config.pace.beat)
            self._send_state()
