"""Memory estimates without a process: returned at once, late, or never."""

import asyncio

from llmservice_operator.controller.memory_estimates import NoAnswer
from llmservice_operator.planner.model.fit_estimate import Estimate, Question, estimated


class Answering:
    """Answers by itself; what is in ``hanging`` has no answer until it is let go."""

    def __init__(self) -> None:
        self.asked: list[Question] = []
        self.hanging: dict[Question, asyncio.Event] = {}
        self.failing: list[Exception] = []

    async def ask(self, question: Question) -> Estimate:
        self.asked.append(question)
        if question in self.hanging:
            await self.hanging[question].wait()
            raise NoAnswer("took longer than 5 s")
        if self.failing:
            raise self.failing.pop(0)
        return estimated(question)

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass
