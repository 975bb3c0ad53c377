"""What agents tell each other: one line of JSON per message. Pure.

The group's port is open to the pod network, so whatever comes is either one of these messages or nothing. Fields that
are not known are passed over: an agent of another version may send them.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

LINE_BYTES = 2048
TEXT_CHARACTERS = 200


class NotAMessage(ValueError):
    """A line that no agent writes."""


@dataclass(frozen=True, slots=True)
class Join:
    """From a rank above 0, first of all."""

    rank: int
    digest: str
    nonce: str = ""
    """Of a rank with a secret: chance."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """From rank 0 with a secret, in answer to a Join: its own nonce, and the proof that it knows the secret."""

    nonce: str
    proof: str


@dataclass(frozen=True, slots=True)
class Proof:
    """From a rank above 0, in answer to a Challenge: the proof that it knows the secret too."""

    proof: str


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """From rank 0 in answer to a Join, as the last."""

    reason: str


@dataclass(frozen=True, slots=True)
class Start:
    """From rank 0: all have joined, so the engine is to be started."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """From a rank that was asked to stop: finish first. From rank 0: what ends now was meant to."""


@dataclass(frozen=True, slots=True)
class Ended:
    """From a rank whose engine ended by itself, first in its group; rank 0 passes it on. Who ends after that is no
    culprit."""


@dataclass(frozen=True, slots=True)
class Beat:
    """The sign of life of both sides, and how rank 0 stands: empty where it serves, else why it does not yet."""

    reason: str = ""


Message = Join | Challenge | Proof | TurnedAway | Start | Stopping | Ended | Beat
KINDS: dict[str, type[Message]] = {
    kind.__name__: kind for kind in (Join, Challenge, Proof, TurnedAway, Start, Stopping, Ended, Beat)
}
TYPES: dict[str, type[object]] = {"rank": int, "digest": str, "reason": str, "nonce": str, "proof": str}
"""Of each field, whatever message it is in."""


def encode(message: Message) -> bytes:
    """The line."""
    fields = {"kind": type(message).__name__, **dataclasses.asdict(message)}
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """The message in a line. Raises NotAMessage."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise NotAMessage("no JSON") from error
    kind = KINDS.get(str(values.get("kind"))) if isinstance(values, dict) else None
    if kind is None:
        raise NotAMessage("no message")
    names = [each.name for each in dataclasses.fields(kind) if each.name in values or not _may_lack(each)]
    if not all(_is_good(name, values.get(name)) for name in names):
        raise NotAMessage("a message with wrong fields")
    return kind(**{name: values[name] for name in names})


def _may_lack(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING


def _is_good(name: str, value: Any) -> bool:
    if isinstance(value, str):
        return TYPES[name] is str and len(value) <= TEXT_CHARACTERS and value.isprintable()
    return type(value) is TYPES[name]
