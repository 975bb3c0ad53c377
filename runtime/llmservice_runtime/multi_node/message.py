"""The messages between agents: one line of JSON per message. Pure.

The group's port is open to the pod network, so whatever comes is either one of these messages or nothing. Fields that
are not known are passed over: an agent of another version may send them.
"""

from __future__ import annotations

import json
from typing import Annotated

import msgspec

LINE_BYTES = 2048
TEXT_CHARACTERS = 200


Text = Annotated[str, msgspec.Meta(max_length=TEXT_CHARACTERS)]


class NotAMessage(ValueError):
    """A line that no agent writes."""


class _Line(msgspec.Struct, frozen=True, tag_field="kind", tag=True):
    """An object whose ``kind`` is the name of its class."""


class Join(_Line, frozen=True, tag=True):
    """From a rank above 0, first of all."""

    rank: int
    digest: Text
    nonce: Text = ""
    """Of a rank with a secret: chance."""


class Challenge(_Line, frozen=True, tag=True):
    """From rank 0 with a secret, in answer to a Join: its own nonce, and the proof that it knows the secret."""

    nonce: Text
    proof: Text


class Proof(_Line, frozen=True, tag=True):
    """From a rank above 0, in answer to a Challenge: the proof that it knows the secret too."""

    proof: Text


class TurnedAway(_Line, frozen=True, tag=True):
    """From rank 0 in answer to a Join, as the last."""

    reason: Text


class Start(_Line, frozen=True, tag=True):
    """From rank 0: all have joined, so the engine is to be started."""


class Stopping(_Line, frozen=True, tag=True):
    """From a rank that was asked to stop: finish first. From rank 0: what ends now was meant to."""


class Ended(_Line, frozen=True, tag=True):
    """From a rank whose engine ended by itself, first in its group; rank 0 passes it on. Who ends after that is no
    culprit."""


class Beat(_Line, frozen=True, tag=True):
    """The sign of life of both sides, and how rank 0 stands: empty if it serves, else why it does not yet."""

    reason: Text = ""


Message = Join | Challenge | Proof | TurnedAway | Start | Stopping | Ended | Beat
_DECODER: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


def encode(message: Message) -> bytes:
    """The line."""
    return json.dumps(msgspec.to_builtins(message), separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """The message in a line. Raises NotAMessage."""
    try:
        message = _DECODER.decode(line)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise NotAMessage("no message, or one with wrong fields") from error
    texts = (getattr(message, name) for name in message.__struct_fields__)
    if not all(text.isprintable() for text in texts if isinstance(text, str)):
        raise NotAMessage("a message with characters that can't be printed")
    return message
