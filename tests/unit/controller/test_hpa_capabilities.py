"""What the cluster's autoscalers can do is found out by a dry run, on each kind of cluster as its answers are."""

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio import client

from llmservice_operator.controller.client.api import Cluster
from llmservice_operator.controller.hpa_capabilities import Support, detect
from support.fake_api import refusal


class Autoscalers:
    """An API server that takes HPAs as clusters of some version do; nothing but dry runs."""

    def __init__(self, *, tolerance: bool, zero: bool, allowed: bool = True) -> None:
        self.tolerance, self.zero, self.allowed = tolerance, zero, allowed

    async def handle(self, request: web.Request) -> web.Response:
        assert request.path == "/apis/autoscaling/v2/namespaces/team-a/horizontalpodautoscalers"
        assert request.query["dryRun"] == "All"
        body: dict[str, Any] = await request.json()
        if not self.allowed:
            return web.json_response(refusal(403, "horizontalpodautoscalers is forbidden")[1], status=403)
        if body["spec"]["minReplicas"] == 0 and not self.zero:
            return web.json_response(
                refusal(422, "spec.minReplicas: must be greater than or equal to 1")[1], status=422
            )
        if not self.tolerance:
            del body["spec"]["behavior"]["scaleUp"]["tolerance"]
        return web.json_response(body, status=201)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (Autoscalers(tolerance=True, zero=True), Support(True, True)),
        (Autoscalers(tolerance=True, zero=False), Support(True, False)),
        (Autoscalers(tolerance=False, zero=False), Support(False, False)),
        (Autoscalers(tolerance=True, zero=True, allowed=False), None),
    ],
    ids=["1.37", "1.35", "1.34", "without permission"],
)
async def test_what_a_cluster_can_do(answers: Autoscalers, expected: Support | None) -> None:
    app = web.Application()
    app.router.add_post("/{path:.*}", answers.handle)
    server = TestServer(app)
    await server.start_server()
    connection = client.ApiClient(client.Configuration(host=str(server.make_url("")).rstrip("/")))
    try:
        assert await detect(Cluster(connection), "team-a") == expected
    finally:
        await connection.close()
        await server.close()
