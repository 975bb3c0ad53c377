"""How long a replica that is to stop may go on."""

from typing import Annotated

from llmservice_contract import engine_settings as rows
from llmservice_operator.api.base import APIType, bounds

DRAIN_SECONDS = 600
"""As long as a request may take by default: then none is cut."""


class Shutdown(APIType):
    """How a replica stops: first it is no longer ready, then it takes no new requests, and ends with its last one."""

    drain_seconds: Annotated[int, bounds(rows.DRAIN_SECONDS)] = DRAIN_SECONDS
    """How long requests that run may go on; a replica without any ends at once."""
    lame_duck_seconds: Annotated[int, bounds(rows.LAME_DUCK_SECONDS)] = 5
    """How long new requests are still taken once the replica is not ready: until all proxies know."""
