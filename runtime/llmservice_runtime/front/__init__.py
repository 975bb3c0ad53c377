"""The front: what stands between a client and vLLM, inside vLLM's own process.

`vllm serve --middleware llmservice_runtime.front.Front`. Nothing in this package knows vLLM or its web framework: it is
ASGI, and each part of it can be used and tested without the others.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmservice_runtime.front.asgi import App, Receive, Scope, Send


class Front:
    """The middleware, made from the environment."""

    def __init__(self, app: App) -> None:
        from llmservice_runtime.front.configuration import parts_from
        from llmservice_runtime.front.front import Pipeline

        self._pipeline = Pipeline(app, parts_from(os.environ))

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self._pipeline(scope, receive, send)
