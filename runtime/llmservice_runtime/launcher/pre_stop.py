"""What comes before the stop signal: the engine of this container is asked to take no more work and finish what it has.

vLLM ends open streams early when it gets a stop signal, so the signal is sent once no request is left or the time
for draining is over. A second call joins the first, or is answered at once.
"""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass

from llmservice_contract import engine_settings as rows
from llmservice_contract.container import DRAIN_PATH
from llmservice_runtime.launcher.settings import Settings

SLACK_SECONDS = 2
"""What the answer may take beyond the time that the engine gives itself."""


@dataclass(frozen=True, slots=True)
class DrainRequest:
    """The engine at a port of this host, and how long it may take."""

    port: int
    seconds: float

    @staticmethod
    def of(settings: Settings) -> DrainRequest:
        """The one for what is served by these settings."""
        values = settings.values
        return DrainRequest(values[rows.PORT], values[rows.LAME_DUCK_SECONDS] + values[rows.DRAIN_SECONDS])

    def run(self) -> str:
        """Returns when the engine may be stopped, with a sentence on how it went. Never raises."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.seconds + SLACK_SECONDS)
        try:
            connection.request("POST", DRAIN_PATH)
            answer = connection.getresponse()
            return _outcome(answer.status, answer.read())
        except ConnectionRefusedError:
            return "nothing to drain: the engine takes no requests yet, or no more."
        except TimeoutError:
            return f"the engine did not answer within {self.seconds + SLACK_SECONDS:g} s that it is drained."
        except (OSError, http.client.HTTPException) as error:
            return f"the engine went away while it drained: {type(error).__name__}."
        finally:
            connection.close()


def _outcome(status: int, body: bytes) -> str:
    if status != http.client.OK:
        return f"the engine can't drain: POST {DRAIN_PATH} was answered with {status}."
    try:
        report = json.loads(body)
        active, seconds = int(report["active"]), float(report["seconds"])
    except (ValueError, TypeError, KeyError):
        return f"the engine can't drain: POST {DRAIN_PATH} was answered with something else than a report."
    if active:
        return f"{active} request{'s' if active > 1 else ''} still ran after {seconds:.1f} s and will be cut."
    return f"drained in {seconds:.1f} s: no request is left."
