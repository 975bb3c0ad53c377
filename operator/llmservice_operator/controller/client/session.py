"""One HTTP session to the API server: watches, reads and writes share its connections.

Credentials come from KUBECONFIG, otherwise from the pod's service account, otherwise from ~/.kube/config. The header is
set for each request, so that a rotated token is used.
"""

import os
from typing import NamedTuple

import aiohttp
from kubernetes.aio import client, config

from llmservice_operator import __version__
from llmservice_operator.controller.client.bounded_json import Answer

REQUEST_CONNECTIONS = 32
"""Maximum number of connections in addition to those of watches."""


class Connection(NamedTuple):
    """An API client and its session."""

    api: client.ApiClient
    session: aiohttp.ClientSession

    @property
    def server(self) -> str:
        """URL of the API server."""
        return str(self.api.configuration.host)


async def connect(*, streams: int) -> Connection:
    """A connection whose session has room for ``streams`` watches and for requests.

    Raises kubernetes.config.ConfigException if there are no credentials.
    """
    configuration = client.Configuration()
    if not os.environ.get("KUBECONFIG") and os.environ.get("KUBERNETES_SERVICE_HOST"):
        config.load_incluster_config(client_configuration=configuration)
    else:
        await config.load_kube_config(os.environ.get("KUBECONFIG") or None, client_configuration=configuration)
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
