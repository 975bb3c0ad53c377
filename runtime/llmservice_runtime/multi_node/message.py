"""The messages between agents, one line of JSON per message, and the connection that carries them.

The group's port is open to the pod network, so whatever comes is either one of these messages or nothing. Fields that
are not known are passed over: an agent of another version may send them.
"""

from __future__ import annotations

import asyncio
import json
from asyncio import StreamReader, StreamWriter
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


class Lost(Exception):
    """The link is of no use any more; the text says why."""


class Link:
    """One end. It is lost when the other end hangs up, says nothing for a while, or says what is no message."""

    def __init__(self, reader: StreamReader, writer: StreamWriter, silence_seconds: float) -> None:
        self._reader = reader
        self._writer = writer
        self._silence_seconds = silence_seconds

    async def receive(self) -> Message:
        """The next message. Raises Lost."""
        try:
            async with asyncio.timeout(self._silence_seconds):
                return decode(await self._reader.readuntil(b"\n"))
        except TimeoutError as error:
            raise Lost(f"silent for {self._silence_seconds:g} s") from error
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Lost("it hung up") from error
        except (asyncio.LimitOverrunError, NotAMessage) as error:
            raise Lost("it talks nonsense") from error

    def send(self, message: Message) -> None:
        """Sends it where the link still holds."""
        if not self._writer.is_closing():
            self._writer.write(encode(message))

    def close(self) -> None:
        """Hangs up."""
        self._writer.close()
