"""The messages between agents, one line of JSON per message, and the connection that carries them.

The group's port is open to the pod network, so every line is either one of these messages or refused. Unknown fields
are ignored, because an agent of another version may send them.
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
    """The line is not a valid message."""


class _Line(msgspec.Struct, frozen=True, tag_field="kind", tag=True):
    """An object whose ``kind`` is the name of its class."""


class Join(_Line, frozen=True, tag=True):
    """The first message of a worker."""

    rank: int
    digest: Text
    nonce: Text = ""
    """Random text, of a worker with a secret."""


class Challenge(_Line, frozen=True, tag=True):
    """From rank 0 with a secret, in answer to a Join: its own nonce, and the proof that it knows the secret."""

    nonce: Text
    proof: Text


class Proof(_Line, frozen=True, tag=True):
    """From a worker in answer to a Challenge: the proof that it knows the secret too."""

    proof: Text


class TurnedAway(_Line, frozen=True, tag=True):
    """From rank 0 in answer to a Join: the worker is rejected, and the connection ends."""

    reason: Text


class Start(_Line, frozen=True, tag=True):
    """From rank 0: all ranks have joined; start the engine."""


class Stopping(_Line, frozen=True, tag=True):
    """From a worker with a stop signal: rank 0 should drain first. From rank 0: its engine is shut down on purpose."""


class Ended(_Line, frozen=True, tag=True):
    """From a rank whose engine was the first to exit; rank 0 forwards it. Engines that exit later are not the root
    cause."""


class Beat(_Line, frozen=True, tag=True):
    """The heartbeat of both ends. From rank 0 also why it is not ready; empty if it is."""

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
        raise NotAMessage("not a message, or one with invalid fields") from error
    texts = (getattr(message, name) for name in message.__struct_fields__)
    if not all(text.isprintable() for text in texts if isinstance(text, str)):
        raise NotAMessage("a message with characters that can't be printed")
    return message


class Lost(Exception):
    """The connection can't be used any more; the text says why."""


class Link:
    """One end. It is lost if the other end closes it, is silent for too long, or sends an invalid message."""

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
            raise Lost("the connection was closed") from error
        except (asyncio.LimitOverrunError, NotAMessage) as error:
            raise Lost("it sent an invalid message") from error

    def send(self, message: Message) -> None:
        """Sends the message if the connection is still open."""
        if not self._writer.is_closing():
            self._writer.write(encode(message))

    def close(self) -> None:
        """Closes the connection."""
        self._writer.close()
