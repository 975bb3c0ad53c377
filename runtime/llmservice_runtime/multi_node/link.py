"""The connection of a rank with rank 0, as each of both sees it."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter

from llmservice_runtime.multi_node.message import Message, NotAMessage, decode, encode


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
