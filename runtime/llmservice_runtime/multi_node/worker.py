"""A worker: a rank above 0, which joins rank 0, and whose engine starts and stops together with that of rank 0."""

from __future__ import annotations

import asyncio
from asyncio import Future

from llmservice_runtime.launcher.launcher import DedupLogger
from llmservice_runtime.multi_node.engine_process import Engine
from llmservice_runtime.multi_node.futures import wait_any
from llmservice_runtime.multi_node.leader_connection import LeaderConnection, connect_to_leader
from llmservice_runtime.multi_node.message import Ended, Stopping
from llmservice_runtime.multi_node.rank_config import RankConfig, is_culprit
from llmservice_runtime.multi_node.secret import SecretUnusable

ALONE = "waits for rank 0"


class Worker:
    """Create it in a running event loop. `stop` is done when this container gets a stop signal."""

    def __init__(self, config: RankConfig, engine: Engine, stop: Future[int]) -> None:
        self._config = config
        self._engine = engine
        self._stop = stop
        self._log = DedupLogger()
        self._connection: LeaderConnection | None = None

    async def health(self) -> str:
        """Always empty (healthy), because a restart of this container would not help it to join rank 0."""
        return ""

    async def ready(self) -> str:
        """Why rank 0 is not ready; empty if it is."""
        return (
            self._connection.reason
            if self._connection and self._connection.admitted and not self._connection.lost.done()
            else ALONE
        )

    async def run(self) -> int:
        """Returns the container's exit code."""
        self._wait_for_leader()
        while not self._stop.done():
            connecting = asyncio.create_task(connect_to_leader(self._config))
            await wait_any(connecting, self._stop)
            if self._stop.done():
                break
            try:
                self._connection = connecting.result()
            except SecretUnusable as error:
                self._connection = None
                self._log.say(str(error))
            if self._connection is not None:
                if (code := await self._join(self._connection)) is not None:
                    return code
                if self._connection.admitted:
                    self._wait_for_leader()
            await wait_any(self._stop, within=self._config.pace.retry)
        return 128 + self._stop.result()

    async def _join(self, connection: LeaderConnection) -> int | None:
        """Stays until the connection is lost. Returns the exit code if the container must exit, otherwise None."""
        try:
            await wait_any(connection.started, connection.lost, self._stop)
            if connection.started.done() and not connection.lost.done() and not self._stop.done():
                return await self._run_engine(connection)
            if connection.lost.done() and not connection.admitted:
                self._log.say(f"rank 0 rejected this rank: {connection.lost.result()}")
            return None
        finally:
            connection.end()

    def _wait_for_leader(self) -> None:
        if not self._stop.done():
            self._log.say(f"rank {self._config.rank} of {self._config.nodes} {ALONE} at {self._config.master}")

    async def _run_engine(self, connection: LeaderConnection) -> int | None:
        """Runs the engine once. Returns the exit code if the container must exit, otherwise None."""
        to_finish = self._config.drain_seconds + self._config.pace.slack
        self._log.say("all ranks have joined: starting the engine")
        self._engine.start()
        await wait_any(self._engine.ended, connection.lost, self._stop)
        if self._stop.done() and not connection.lost.done():
            self._log.say("this rank received a stop signal: rank 0 drains first")
            connection.say(Stopping())
            await wait_any(connection.lost, within=to_finish)
        elif connection.meant_to_end and not connection.lost.done():
            await wait_any(connection.lost, within=to_finish)
        elif not connection.lost.done():
            await self._wait_for_root_cause(connection)
        if not self._stop.done() and not connection.lost.done():
            code = self._engine.ended.result()
            self._log.say(f"the engine exited with code {code}: this container exits with the same code")
            await self._engine.end()
            return code
        if not self._stop.done():
            self._log.say(f"lost rank 0 ({connection.lost.result()}): stopping the engine and waiting for rank 0")
        await self._engine.end()
        self._engine.forget_cause()
        return 0 if self._stop.done() else None

    async def _wait_for_root_cause(self, connection: LeaderConnection) -> None:
        """The engine exited without a stop signal: waits for the message that another rank's engine exited first."""
        pace = self._config.pace
        if is_culprit(self._engine.ended.result(), connection.another_ended):
            connection.say(Ended())
            await wait_any(connection.lost, within=pace.verdict)
        else:
            await wait_any(connection.lost, within=pace.silence)
