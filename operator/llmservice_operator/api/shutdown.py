"""How a replica stops."""

from typing import Annotated

from llmservice_contract import engine_settings as rows
from llmservice_operator.api.base import APIType, bounds

DRAIN_SECONDS = 600
"""Equals the default deadline of a request, so that no request is cut off."""


class Shutdown(APIType):
    """How a replica stops: first it is no longer ready, then it accepts no new requests, and it ends after its last
    one."""

    drain_seconds: Annotated[int, bounds(rows.DRAIN_SECONDS)] = DRAIN_SECONDS
    """How long in-flight requests may continue; a replica without any ends immediately."""
    lame_duck_seconds: Annotated[int, bounds(rows.LAME_DUCK_SECONDS)] = 5
    """How long new requests are still accepted after the replica is not ready: until all proxies have noticed."""
