"""Runs the script in a Redis or Valkey: one server, or a cluster, of which the address is any node.

It has one connection to each node and sends all calls of a batch together. It neither retries nor has time limits: the
batching client adds both.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError, MovedError, NoScriptError

from llmservice_runtime.rate_limits import script
from llmservice_runtime.rate_limits.script import Call

ROUNDS = 4
"""Maximum number of sends of a call: to the wrong node, to the right one, with the script, and one more."""

Node = tuple[str, int]


class StoreClient:
    """Connects at the first call, with the credentials that are in the directory at that time."""

    def __init__(
        self, address: str, tls: bool = False, credentials: Path | None = None, *, trusted: bool = False
    ) -> None:
        """`trusted`: whether the platform lists the address, so that the login need not name it."""
        self._address = address
        self._login = FileCredentials(credentials, None if trusted else address) if credentials else None
        self._tls = tls
        self._credentials = credentials
        self._script = script.SCRIPT
        self._digest = script.digest(self._script)
        self._clients: dict[Node, Redis] = {}
        self._owners: dict[int, Node] = {}
        """Nodes by slot of a cluster, if it is not the entry node."""

    async def resolve(self) -> None:
        """Returns once the address has been looked up. Raises OSError."""
        await asyncio.get_running_loop().getaddrinfo(*endpoint(self._address))

    async def run(self, calls: Sequence[Call]) -> list[Any]:
        """The replies in the order of the calls; a single call may have an error. Raises if there is no reply."""
        try:
            replies = await self._round(calls)
            for _ in range(ROUNDS - 1):
                again = [index for index, reply in enumerate(replies) if self._is_misplaced(calls[index], reply)]
                if not again:
                    break
                load = any(isinstance(replies[index], NoScriptError) for index in again)
                for index, reply in zip(again, await self._round([calls[index] for index in again], load), strict=True):
                    replies[index] = reply
        except BaseException:
            self._owners.clear()
            raise
        return replies

    async def aclose(self) -> None:
        """Closes all connections; the next call opens new ones."""
        clients, self._clients = self._clients, {}
        self._owners.clear()
        for client in clients.values():
            await client.aclose()

    async def _round(self, calls: Sequence[Call], load: bool = False) -> list[Any]:
        """Sends each call to the node that should have its key."""
        by_node: dict[Node, list[int]] = {}
        for index, call in enumerate(calls):
            by_node.setdefault(self._node(call), []).append(index)
        replies: list[Any] = [None] * len(calls)
        for node, indexes in by_node.items():
            answers = await self._send(node, [calls[index] for index in indexes], load)
            for index, answer in zip(indexes, answers, strict=True):
                replies[index] = answer
        return replies

    async def _send(self, node: Node, calls: Sequence[Call], load: bool) -> list[Any]:
        client = self._clients.get(node)
        if client is None:
            client = self._clients[node] = self._connected_to(*node)
        pipeline = client.pipeline(transaction=False)
        for index, call in enumerate(calls):
            # Sending the script as a text also stores it, so that later calls find it.
            how = ("EVAL", self._script) if load and index == 0 else ("EVALSHA", self._digest)
            pipeline.execute_command(*how, 1, call.key, *call.arguments)
        return list(await pipeline.execute(raise_on_error=False))

    def _node(self, call: Call) -> Node:
        entry = endpoint(self._address)
        return self._owners.get(key_slot(call.key.encode()), entry) if self._owners else entry

    def _is_misplaced(self, call: Call, reply: Any) -> bool:
        """Whether the call must be sent again, to another node or with the script."""
        if isinstance(reply, MovedError):
            self._owners[reply.slot_id] = (reply.host or self._node(call)[0], reply.port)
            return True
        return isinstance(reply, NoScriptError)

    def _connected_to(self, host: str, port: int) -> Redis:
        authority = self._credentials / "ca.crt" if self._credentials else None
        return Redis(
            host=host,
            port=port,
            ssl=self._tls,
            ssl_ca_certs=str(authority) if authority and authority.is_file() else None,
            credential_provider=self._login,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,
            socket_connect_timeout=None,
            protocol=2,
            driver_info=None,
        )


@functools.cache
def endpoint(address: str) -> Node:
    """Host and port of HOST:PORT, the host of IPv6 in brackets. Raises ValueError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit():
        raise ValueError(f"its address {address[:200]!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


class FileCredentials(CredentialProvider):
    """A login in the files `username` and `password` of a directory; without a password, none.

    It is sent only to the store whose HOST:PORT the owner of the login wrote into the file `address`, because the
    author of the service chooses the address of the connection.
    """

    def __init__(self, directory: Path, address: str | None = None) -> None:
        """`address`: where the login would be sent; None for a store that the platform lists."""
        self._directory = directory
        self._address = address

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """The current login."""
        username, password = self._read("username"), self._read("password")
        if not password:
            return ()  # type: ignore[return-value]  # the library sends no login then
        if self._address is not None and self._address not in self._read("address").split():
            raise AuthenticationError(
                f"The Secret with the store's login is not for {self._address}: its key `address` does not name it."
            )
        return (username, password) if username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """The same; the files are small, and read only when a connection is opened."""
        return self.get_credentials()

    def _read(self, name: str) -> str:
        try:
            return (self._directory / name).read_text().rstrip("\r\n")
        except FileNotFoundError:
            return ""
