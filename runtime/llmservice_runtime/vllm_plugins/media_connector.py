"""Fetches media for vLLM, only from checked addresses. Imported only inside vLLM, if domains are listed.

vLLM checks the host name of a URL and follows no redirects. This connector also checks the address of the host.
mistral_common downloads the images of a chat a second time, so its download uses the same connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import os
import socket
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from vllm.connections import HTTPConnection
from vllm.multimodal.media.connector import MEDIA_CONNECTOR_REGISTRY, MediaConnector

from llmservice_runtime.gateway.media_addresses import check_addresses, listed_domains, platform_domains
from llmservice_runtime.launcher.command import MEDIA_CONNECTOR

_MOST_BYTES = 256 * 1024 * 1024
_SECONDS = 30


class CheckedResolver(AbstractResolver):
    """Resolves a name, and raises AddressRefused for an address from which media may not be fetched."""

    def __init__(self, private_domains: frozenset[str]) -> None:
        self._private_domains = private_domains
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> Any:
        found = await self._inner.resolve(host, port, family)
        check_addresses(host, [each["host"] for each in found], self._private_domains)
        return found

    async def close(self) -> None:
        await self._inner.close()


class CheckedConnection(HTTPConnection):  # type: ignore[misc]
    """vLLM's HTTP client with `CheckedResolver`. It ignores proxies of the environment, which would resolve names."""

    def __init__(self) -> None:
        super().__init__()
        self._async_client: aiohttp.ClientSession | None = None
        self._private_domains = frozenset(platform_domains(os.environ))

    async def get_async_client(self) -> aiohttp.ClientSession:
        if self._async_client is None or not self.reuse_client:
            self._async_client = self._session()
        return self._async_client

    def get_bytes(self, url: str, **options: Any) -> bytes:
        """For vLLM's callers outside the event loop; with its own client, because a client belongs to one loop."""
        return asyncio.run(_fetch(url, **options))

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(resolver=CheckedResolver(self._private_domains))
        return aiohttp.ClientSession(trust_env=False, connector=connector)

    async def close(self) -> None:
        if self._async_client is not None:
            await self._async_client.close()


async def _fetch(url: str, **options: Any) -> bytes:
    once = CheckedConnection()
    try:
        content: bytes = await once.async_get_bytes(url, **options)
        return content
    finally:
        await once.close()


CONNECTION = CheckedConnection()


class Connector(MediaConnector):  # type: ignore[misc]
    """vLLM's connector over `CheckedConnection`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "connection": CONNECTION})


def register() -> None:
    """Makes vLLM find the connector by its name, and mistral_common use its connection."""
    MEDIA_CONNECTOR_REGISTRY.register(MEDIA_CONNECTOR)(Connector)
    with contextlib.suppress(ImportError):
        image: Any = importlib.import_module("mistral_common.tokens.tokenizers.image")
        image.download_image = _download_image


def _download_image(url: str, **_options: Any) -> Any:
    from PIL import Image
    from urllib3.util import parse_url

    domains = list(listed_domains(os.environ))
    MediaConnector(allowed_media_domains=domains)._assert_url_in_allowed_media_domains(parse_url(url))
    content = CONNECTION.get_bytes(url, timeout=_SECONDS, allow_redirects=False, max_bytes=_MOST_BYTES)
    return Image.open(io.BytesIO(content))
