"""A rank above 0: joins rank 0, and starts and ends with it."""

from __future__ import annotations

import asyncio
from asyncio import Future

from llmservice_runtime.launcher.launcher import DedupLogger
from llmservice_runtime.multi_node.engine_process import Engine
from llmservice_runtime.multi_node.futures import wait_any
from llmservice_runtime.multi_node.leader_connection import LeaderConnection, tie
from llmservice_runtime.multi_node.message import Ended, Stopping
from llmservice_runtime.multi_node.rank_config import RankConfig, is_culprit
from llmservice_runtime.multi_node.secret import SecretUnusable

ALONE = "waits for rank 0"


class Follower:
    """`stop` happens with the signal that asks this container to stop."""

    def __init__(self, place: RankConfig, engine: Engine, stop: Future[int]) -> None:
        self._place = place
        self._engine = engine
        self._stop = stop
        self._teller = DedupLogger()
        self._tie: LeaderConnection | None = None

    async def health(self) -> str:
        """Empty: this rank is never started again for what it waits for."""
        return ""

    async def ready(self) -> str:
        """Why rank 0 does not serve; empty if it does."""
        return self._tie.reason if self._tie and self._tie.admitted and not self._tie.lost.done() else ALONE

    async def run(self) -> int:
        """Returns the container's exit code."""
        self._wait_for_leader()
        while not self._stop.done():
            tying = asyncio.create_task(tie(self._place))
            await wait_any(tying, self._stop)
            if self._stop.done():
                break
            try:
                self._tie = tying.result()
            except SecretUnusable as error:
                self._tie = None
                self._teller.say(str(error))
            if self._tie is not None:
                if (code := await self._join(self._tie)) is not None:
                    return code
                if self._tie.admitted:
                    self._wait_for_leader()
            await wait_any(self._stop, within=self._place.pace.retry)
        return 128 + self._stop.result()

    async def _join(self, tie: LeaderConnection) -> int | None:
        """Stays as long as the tie holds. Returns the exit code if the container ends, None if it does not."""
        try:
            await wait_any(tie.started, tie.lost, self._stop)
            if tie.started.done() and not tie.lost.done() and not self._stop.done():
                return await self._live(tie)
            if tie.lost.done() and not tie.admitted:
                self._teller.say(f"rank 0 does not take this rank: {tie.lost.result()}")
            return None
        finally:
            tie.end()

    def _wait_for_leader(self) -> None:
        if not self._stop.done():
            self._teller.say(f"rank {self._place.rank} of {self._place.nodes} {ALONE} at {self._place.master}")

    async def _live(self, tie: LeaderConnection) -> int | None:
        """Runs the engine once."""
        to_finish = self._place.drain_seconds + self._place.pace.slack
        self._teller.say("the group is complete: starting")
        self._engine.start()
        await wait_any(self._engine.ended, tie.lost, self._stop)
        if self._stop.done() and not tie.lost.done():
            self._teller.say("this rank received a stop signal: rank 0 finishes first")
            tie.say(Stopping())
            await wait_any(tie.lost, within=to_finish)
        elif tie.meant_to_end and not tie.lost.done():
            await wait_any(tie.lost, within=to_finish)
        elif not tie.lost.done():
            await self._judge(tie)
        if not self._stop.done() and not tie.lost.done():
            code = self._engine.ended.result()
            self._teller.say(f"the engine ended by itself with exit code {code}: this container ends with it")
            await self._engine.end()
            return code
        if not self._stop.done():
            self._teller.say(f"rank 0 is gone ({tie.lost.result()}): stopping the engine and waiting for it")
        await self._engine.end()
        self._engine.forget_cause()
        return 0 if self._stop.done() else None

    async def _judge(self, tie: LeaderConnection) -> None:
        """The engine ended by itself: waits whether that was the fault of another one."""
        pace = self._place.pace
        if is_culprit(self._engine.ended.result(), tie.another_ended):
            tie.say(Ended())
            await wait_any(tie.lost, within=pace.verdict)
        else:
            await wait_any(tie.lost, within=pace.silence)
