"""The gateway's watches while the API server does not answer, for hours."""

import asyncio
from typing import Any, cast

import pytest

from llmservice_operator.controller.client.session import Connection
from llmservice_operator.controller.gateway.reflector import Reflector
from llmservice_operator.resources.kinds import POD

HOUR = 3600.0


class Failing(Reflector[str]):
    """Its watches fail, and its lists too if ``away``."""

    def __init__(self, *, away: bool) -> None:
        connection = cast("Connection", None)
        super().__init__(connection, POD, None, selector="", read=lambda _: None, on_change=lambda: None)
        self._away = away
        self.lists = 0

    async def _list(self) -> str:
        self.lists += 1
        if self._away:
            raise OSError("no route to host")
        return "1"

    async def _watch(self, version: str) -> str:
        raise OSError("HTTP status 403")


@pytest.mark.looptime
@pytest.mark.parametrize("away", [True, False])
async def test_failures_make_the_next_try_later_and_never_end_it(away: bool) -> None:
    reflector = Failing(away=away)
    task: asyncio.Task[Any] = asyncio.create_task(reflector.run())
    await asyncio.sleep(8 * HOUR)
    assert not task.done()
    assert 8 * 240 <= reflector.lists <= 8 * 1300, "between 3 and 15 seconds each"
    task.cancel()
