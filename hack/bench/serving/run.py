"""One run on one server: from the check of the server to the figures."""

from __future__ import annotations

import argparse
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from serving import options as command_line
from serving import pages
from serving.answer import Answer
from serving.client import Client, session
from serving.figures import figures
from serving.prompts import prompts, words_for


class Run:
    """Answers of a load, and the time that counts."""

    def __init__(self, client: Client, metrics_url: str, words: int, max_tokens: int, rng: random.Random) -> None:
        self.client = client
        self.answers: list[Answer] = []
        self.began: float | None = None
        self.ended = 0.0
        self.rng = rng
        self._max_tokens = max_tokens
        self._metrics_url = metrics_url
        self._prompts = prompts(words, rng)
        self._before: pages.Page = {}
        self._after: pages.Page = {}

    async def ask(self) -> bool:
        """One request of the load; whether it was answered."""
        return (await self.client.ask(next(self._prompts), self._max_tokens, self.answers.append)).succeeded

    async def warm_up(self) -> None:
        """One request that does not count; Unusable if it fails."""
        answer = await self.client.ask(next(self._prompts), self._max_tokens, lambda _: None)
        if not answer.succeeded:
            raise self.client.unusable(answer.error, answer.detail)

    async def look(self) -> pages.Page:
        """The server's metrics now."""
        return await pages.look(self.client.http, self._metrics_url)

    async def begin(self) -> None:
        """From here on it counts."""
        self._before = await self.look()
        self.began = self.client.now()

    async def end(self) -> None:
        """Up to here it counts."""
        self.ended = self.client.now()
        self._after = await self.look()

    def result(self) -> dict[str, Any]:
        """The figures; of nothing if it ended before it counted."""
        found = figures(self.answers, self.ended if self.began is None else self.began, self.ended)
        batch, source = pages.batch_size(self._before, self._after)
        details = {each.error: each.detail for each in self.answers if each.failed}
        return found | {"mean_batch_size": batch, "batch_size_from": source, "error_details": details}


@asynccontextmanager
async def opened(options: argparse.Namespace) -> AsyncIterator[Run]:
    """A run on the server of the command line, warmed up; Unusable if that server can't be measured."""
    rng = random.Random(options.seed)
    async with session(options.api_key, options.timeout) as http:
        client = Client(http, options.url, options.model, command_line.sampling(options))
        words = await words_for(options.prompt_tokens, client.count)
        run = Run(client, options.metrics_url, words, options.max_tokens, rng)
        await run.warm_up()
        yield run
