"""The preStop hook: asks the engine of this container to drain before the stop signal.

vLLM aborts open streams when it gets a stop signal, so the signal is sent when no request is in flight or the drain
time is over. A second call joins the first, or is answered at once.
"""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass

from llmservice_contract import engine_settings as rows
from llmservice_contract.container import DRAIN_PATH
from llmservice_runtime.launcher.settings import Settings

SLACK_SECONDS = 2
"""How long the answer may take beyond the drain time."""


@dataclass(frozen=True, slots=True)
class DrainRequest:
    """A drain of the engine at a port of this host, with its time limit."""

    port: int
    seconds: float

    @staticmethod
    def of(settings: Settings) -> DrainRequest:
        """The request for the engine of these settings."""
        values = settings.values
        return DrainRequest(values[rows.PORT], values[rows.LAME_DUCK_SECONDS] + values[rows.DRAIN_SECONDS])

    def run(self) -> str:
        """Returns when the engine may be stopped, with a sentence about the result. Never raises."""
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
