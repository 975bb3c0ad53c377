"""The gateway: ASGI middleware between clients and vLLM, in the process of vLLM's API server.

`vllm serve --middleware llmservice_runtime.gateway.Gateway`. No module of this package imports vLLM or its web
framework. Each can be used and tested by itself.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmservice_runtime.gateway.asgi import App, Receive, Scope, Send


class Gateway:
    """The middleware, made from the environment."""

    def __init__(self, app: App) -> None:
        from llmservice_runtime.gateway.configuration import parts_from
        from llmservice_runtime.gateway.middleware import Pipeline

        self._pipeline = Pipeline(app, parts_from(os.environ))

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self._pipeline(scope, receive, send)
