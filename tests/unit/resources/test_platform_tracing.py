"""The platform's collector of traces: for services that name none, and for no others."""

import dataclasses
from typing import Any

import pytest

from builders.observed import a_scene
from builders.services import a_service
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.cli.plan.platform_discovery import DiscoveredPlatform, with_outgoing
from llmservice_operator.config.settings import SettingsError, from_environment
from llmservice_operator.planner.rollout.approval import operator_digest
from llmservice_operator.resources import environment
from llmservice_operator.resources.platform import Platform

TRACED = Platform(tracing_endpoint="http://otel.tracing:4317", tracing_sampling_percent=7)
NAMES = ("TRACING_ENDPOINT", "TRACE_SAMPLING", "OTEL_SERVICE_NAME")


def traces(platform: Platform, **spec: Any) -> list[str | None]:
    """The variables about traces."""
    asked = LLMServiceSpec.model_validate(a_service("chat").with_spec(**spec).build()["spec"])
    found = environment.of_platform("chat", asked, platform)
    return [found.get(name) for name in NAMES]


def test_a_service_without_a_collector_has_the_platforms() -> None:
    assert traces(Platform()) == [None] * 3
    assert traces(TRACED) == ["http://otel.tracing:4317", "0.07", "chat"]


def test_a_service_with_a_collector_has_its_own() -> None:
    own = {"endpoint": "http://jaeger:4317", "samplingPercent": 100}
    assert traces(TRACED, tracing=own) == traces(Platform(), tracing=own) == ["http://jaeger:4317", "1", "chat"]


def test_another_collector_is_an_upgrade_and_none_is_the_operator_as_before() -> None:
    others = [TRACED, dataclasses.replace(TRACED, tracing_sampling_percent=8), Platform()]
    assert len({operator_digest(each) for each in others}) == 3
    assert operator_digest(Platform(tracing_sampling_percent=50)) == operator_digest(Platform())


@pytest.mark.parametrize(
    "endpoint",
    ["otel:4317", "ftp://otel:4317", "https://otel:4317", "http://otel:4317/a b", "http://a\nX: b", "file:///x"],
)
def test_an_address_that_is_no_collector_is_refused_at_start(endpoint: str) -> None:
    with pytest.raises(SettingsError, match="LLMSERVICE_TRACING_ENDPOINT"):
        from_environment({"LLMSERVICE_TRACING_ENDPOINT": endpoint})


def test_the_settings_are_those_of_the_environment() -> None:
    given = {"LLMSERVICE_TRACING_ENDPOINT": "https://otel:4318/v1/traces", "LLMSERVICE_TRACING_SAMPLING_PERCENT": "25"}
    platform = from_environment(given).platform
    assert (platform.tracing_endpoint, platform.tracing_sampling_percent) == ("https://otel:4318/v1/traces", 25)


def test_a_plan_knows_the_platforms_collector_from_the_children() -> None:
    service = a_service("chat").build()
    made = [dict(each) for each in a_scene(a_service("chat").read()).on(TRACED).plan().objects]
    unread = DiscoveredPlatform(Platform(), from_operator=False)
    found = with_outgoing(unread, "chat", made, service).platform
    assert (found.tracing_endpoint, found.tracing_sampling_percent) == ("http://otel.tracing:4317", 7)
    service["spec"]["tracing"] = {"endpoint": "http://otel.tracing:4317"}
    assert with_outgoing(unread, "chat", made, service).platform.tracing_endpoint == "", "the service's own"
