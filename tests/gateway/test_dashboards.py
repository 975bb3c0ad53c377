"""The gateway's panels of the dashboard Request Analytics, in a real Prometheus that scrapes a real gateway."""

from __future__ import annotations

from collections.abc import Callable

from support.cluster import wait_until
from support.dashboards import expressions, without_numbers
from support.nginx_gateway import Gateway, Replica, service
from support.prometheus_server import prometheus_server

VARIABLES = {"namespace": "team-a", "service": "chat", "__rate_interval": "10s"}


def test_no_panel_of_the_gateway_is_empty(gateway: Gateway, replica: Callable[..., Replica]) -> None:
    asked = [each for each in expressions("request-analytics") if "llmservice_gateway_" in each.expression]
    assert len(asked) == 3
    gateway.route({service("chat", namespace="team-a"): [replica()]})
    own = {"namespace": "llmservice-system", "pod": "gateway-1"}
    with prometheus_server(job={"honor_labels": False}) as server:
        server.scrape_each({f"127.0.0.1:{gateway.metrics_port}": own})

        def missing() -> list[str]:
            assert gateway.chat("chat", path="/namespaces/team-a/v1/chat/completions").status == 200
            return without_numbers(server, iter(asked), VARIABLES)

        wait_until(lambda: not missing(), lambda: f"every panel has a number: {missing()}", every=0.3)
