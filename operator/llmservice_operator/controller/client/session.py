"""One HTTP session to the API server for everything: watch streams, reads and writes share its connections.

Credentials come from KUBECONFIG, else from the pod's service account, else from ~/.kube/config. A token that
rotates is read again: the header is set per request.
"""

import os
from typing import NamedTuple

import aiohttp
from kubernetes.aio import client, config

from llmservice_operator import __version__
from llmservice_operator.controller.client.bounded_json import Answer

REQUEST_CONNECTIONS = 32
"""Connections beside those of the watch streams."""


class Connection(NamedTuple):
    """An API client and the session under it."""

    api: client.ApiClient
    session: aiohttp.ClientSession

    @property
    def server(self) -> str:
        """URL of the API server."""
        return str(self.api.configuration.host)


async def connect(*, streams: int) -> Connection:
    """A connection whose one session has room for ``streams`` watch streams beside the requests.

    Raises kubernetes.config.ConfigException where no credentials are found.
    """
    configuration = client.Configuration()
    if not os.environ.get("KUBECONFIG") and os.environ.get("KUBERNETES_SERVICE_HOST"):
        config.load_incluster_config(client_configuration=configuration)
    else:
        await config.load_kube_config(client_configuration=configuration)
    api = client.ApiClient(configuration)
    api.user_agent = f"llmservice-operator/{__version__}"
    rest = api.rest_client

    async def authenticate(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if "Authorization" not in request.headers:
            token = (await configuration.auth_settings()).get("BearerToken")
            if token and token["value"]:
                request.headers["Authorization"] = token["value"]
        return await handler(request)

    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=streams + REQUEST_CONNECTIONS, ssl=rest.ssl_context),
        headers={"User-Agent": api.user_agent},
        middlewares=(authenticate,),
        response_class=Answer,
        proxy=configuration.proxy or None,
        read_bufsize=2**20,
    )
    rest.pool_manager = session
    return Connection(api, session)
