"""The dependencies of the gateway, made from environment variables.

| variable | what it names |
|---|---|
| API_KEYS | the directory with one file for each key |
| ACCESS_POLICY | the file with the access policy |
| STORE_CREDENTIALS | the directory with the login of the rate limits' store |
| TRUST_TRACE_FLAGS | whether clients decide if their traces are recorded |
| MEDIA_DOMAINS, PLATFORM_MEDIA_DOMAINS | domains of media |
| LOG_FORMAT | json; if absent, text |

A service that names keys or a policy is never open by accident: until there is a policy that can be read, every request
needs a key and has the limits of its tier.
"""

from __future__ import annotations

import logging
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from llmservice_contract.policy import DEFAULT_TIERS, Policy
from llmservice_runtime.gateway.asgi import Headers
from llmservice_runtime.gateway.dependencies import Dependencies, Lines
from llmservice_runtime.gateway.files import PolicyFile, Watched, Watcher
from llmservice_runtime.gateway.keyring import KeyRing
from llmservice_runtime.gateway.log import Log, Wordless
from llmservice_runtime.gateway.media import MediaRule
from llmservice_runtime.gateway.media_addresses import listed_domains

CLOSED = Policy(require_keys=True, tiers=DEFAULT_TIERS)
OPEN = Policy()


def parts_from(environ: Mapping[str, str]) -> Dependencies:
    """The parts of this process. To be called once: metrics and the drain exist once in a process."""
    from llmservice_runtime.gateway.drain import drain_of_process
    from llmservice_runtime.gateway.meter import Meter
    from llmservice_runtime.gateway.trace import Tracer
    from llmservice_runtime.rate_limits.by_policy import PolicyLimiter

    logging.getLogger(Wordless.NAME).addFilter(Wordless())
    log = Log(sys.stderr, environ.get("LOG_FORMAT") == "json", time.time)
    keys_path, policy_path = _path(environ, "API_KEYS"), _path(environ, "ACCESS_POLICY")
    keys = KeyRing(keys_path, log.say)
    policy = PolicyFile(policy_path, CLOSED if keys_path or policy_path else OPEN, log.say)
    watched = ((policy_path, policy.read, False), (keys_path, keys.read, True))
    # Reads the policy, so that the limiter begins with the one in force.
    files = Watcher([Watched(path, read, vital) for path, read, vital in watched if path is not None], log.say)
    meter = Meter()
    limiter = PolicyLimiter(lambda: policy.current, _path(environ, "STORE_CREDENTIALS"), meter.store_failed)
    return Dependencies(
        keys=keys,
        policy=lambda: policy.current,
        files=files,
        limiter=limiter,
        meter=meter,
        tracer=Tracer(trusts_clients=environ.get("TRUST_TRACE_FLAGS", "").strip().lower() == "true"),
        drain=drain_of_process(),
        lines=_lines,
        log=log,
        new_id=lambda: uuid.uuid4().hex,
        now=time.monotonic,
        close=limiter.aclose,
        media=MediaRule(frozenset(listed_domains(environ))),
    )


def _lines(headers: Headers) -> Lines | None:
    from llmservice_runtime.gateway import ndjson

    return ndjson.Lines() if ndjson.wants_lines(headers) else None


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    return Path(value) if (value := environ.get(name, "").strip()) else None
