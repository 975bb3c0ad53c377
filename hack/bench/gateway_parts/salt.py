"""A timing attack on the prefix cache: does a second key learn from the time to the first token what another one sent?

A victim sends prompts. The attacker, with another key, sends each of them, and as many that the victim did not send, in
random order, each once. AUC is the probability that a prompt that the victim sent is answered sooner than one that it
didn't: 1 if the time tells everything, 0.5 if it tells nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy
import requests
from numpy.typing import NDArray

from gateway_parts import quantiles
from gateway_parts.stub import MODEL
from gateway_parts.vllm import TOKEN_IDS, WIDE
from llmservice_contract.keys import ID_BYTES, SECRET_BYTES, make_key
from llmservice_contract.policy import Policy, PrefixCache
from overhead.servers import Fleet, Server, make_model, runtime

Times = Sequence[float] | NDArray[numpy.float64]
PROMPTS = 40
PROMPT_TOKENS = 800
WARM = 5
RESAMPLES = 2000


def measure(fleet: Fleet, directory: Path, _: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """AUC with the prefix cache of all keys, and with one for each."""
    model = make_model(directory / "model", **WIDE)
    found: dict[str, Any] = {"prompts": PROMPTS, "prompt_tokens": PROMPT_TOKENS}
    for mode in (PrefixCache.SHARED, PrefixCache.PER_KEY):
        home = directory / mode.name.lower()
        victim, attacker, environ = _access(home, mode)
        server = fleet.ready(runtime(fleet, f"vllm-{mode.name}", model, environ))
        found[mode.name.lower()] = _attack(server, victim, attacker)
        say(f"salt, {mode.name}: {json.dumps(found[mode.name.lower()])}")
        server.process.terminate()
        server.process.wait()
    return found


def _access(home: Path, mode: PrefixCache) -> tuple[str, str, dict[str, str]]:
    """Two keys, and the environment of a runtime that knows them."""
    keys, policy = home / "keys", home / "policy.json"
    keys.mkdir(parents=True)
    made = [make_key(secrets.token_bytes(ID_BYTES + SECRET_BYTES)) for _ in range(2)]
    for _, stored in made:
        (keys / stored.id).write_text(stored.entry())
    policy.write_text(Policy(require_keys=True, prefix_cache=mode).to_json())
    environ = {"API_KEYS": str(keys), "ACCESS_POLICY": str(policy), "ENABLE_PREFIX_CACHING": "true"}
    return made[0][0], made[1][0], environ


def _attack(server: Server, victim: str, attacker: str) -> dict[str, Any]:
    chance = random.Random(0)
    times: dict[bool, list[float]] = {True: [], False: []}
    with requests.Session() as session:
        for _ in range(WARM):
            _seconds(session, server, victim, _prompt(chance))
        for _ in range(PROMPTS):
            sent, other = _prompt(chance), _prompt(chance)
            _seconds(session, server, victim, sent)
            for known, prompt in chance.sample([(True, sent), (False, other)], 2):
                times[known].append(_seconds(session, server, attacker, prompt))
    low, high = interval(times[True], times[False])
    return {
        "auc": round(auc(times[True], times[False]), 4),
        "auc_95": [round(low, 4), round(high, 4)],
        "p50_ttft_ms_of_sent_prompts": quantiles.milliseconds(times[True], 0.5),
        "p50_ttft_ms_of_others": quantiles.milliseconds(times[False], 0.5),
    }


def auc(sooner: Times, later: Times) -> float:
    """The part of all pairs in which the first one is less; equal ones count half."""
    one, other = numpy.asarray(sooner)[:, None], numpy.asarray(later)[None, :]
    return float(((one < other) + 0.5 * (one == other)).mean())


def interval(sooner: Sequence[float], later: Sequence[float]) -> tuple[float, float]:
    """Its 95 % interval by bootstrap."""
    chance = numpy.random.default_rng(0)
    drawn = [auc(chance.choice(sooner, len(sooner)), chance.choice(later, len(later))) for _ in range(RESAMPLES)]
    low, high = numpy.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _prompt(chance: random.Random) -> list[int]:
    return [chance.randint(*TOKEN_IDS) for _ in range(PROMPT_TOKENS)]


def _seconds(session: requests.Session, server: Server, key: str, prompt: list[int]) -> float:
    """To the first event."""
    body: dict[str, Any] = {"model": MODEL, "prompt": prompt, "stream": True, "max_tokens": 1}
    url, headers = f"http://127.0.0.1:{server.port}/v1/completions", {"Authorization": f"Bearer {key}"}
    began = time.perf_counter()
    with session.post(url, json=body, headers=headers, stream=True, timeout=120) as answer:
        answer.raise_for_status()
        next(answer.iter_lines())
        first = time.perf_counter() - began
        for _ in answer.iter_lines():
            pass
    return first
