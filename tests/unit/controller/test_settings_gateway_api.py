"""The operator's settings for Gateways: what is read, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmservice_operator.config.settings import SettingsError, from_environment
from llmservice_operator.resources.platform import EndpointPicker, GatewayAPI, ParentRef

GATEWAY = {"name": "inference", "namespace": "gateway-system"}
LEAST: dict[str, Any] = {"parentRefs": [GATEWAY], "domain": "llm.example.com"}


def settings(given: Any) -> GatewayAPI | None:
    environment = {"LLMSERVICE_NAMESPACE": "system", "LLMSERVICE_GATEWAY_API": json.dumps(given)}
    return from_environment(environment).platform.gateway_api


def test_settings() -> None:
    parents = (ParentRef("inference", "gateway-system"),)
    assert settings(LEAST) == GatewayAPI(parents, domain="llm.example.com")
    picker = {"name": "{service}-epp", "port": 9003, "failureMode": "FailOpen"}
    full = {
        "parentRefs": [{**GATEWAY, "sectionName": "https", "port": 443}, {"name": "own"}],
        "hostnames": ["a.example", "b"],
        "domain": "",
        "requestTimeout": "1h30m",
        "endpointPicker": picker,
    }
    assert settings(full) == GatewayAPI(
        (ParentRef("inference", "gateway-system", "https", 443), ParentRef("own")),
        hostnames=("a.example", "b"),
        request_timeout="1h30m",
        endpoint_picker=EndpointPicker("{service}-epp", 9003, "FailOpen"),
    )
    without = settings({**LEAST, "endpointPicker": {**picker, "name": ""}})
    assert without is not None and without.endpoint_picker is None
    assert from_environment({}).platform.gateway_api is None


def test_the_name_of_a_picker_is_that_for_the_service() -> None:
    assert EndpointPicker("{service}-epp").service_for("chat") == "chat-epp"
    assert EndpointPicker("epp").service_for("chat") == "epp"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"parentRefs": []}, "parentRefs must be a list of 1 to 8 Gateways"),
        ({"parentRefs": [GATEWAY] * 9}, "parentRefs must be a list"),
        ({"parentRefs": [{"namespace": "a"}]}, "parentRefs[0] must have the name"),
        ({"parentRefs": [{**GATEWAY, "kind": "Service"}]}, "parentRefs[0]"),
        ({"parentRefs": [GATEWAY, {**GATEWAY, "namespace": "a.b"}]}, "parentRefs[1].namespace"),
        ({"parentRefs": [{**GATEWAY, "sectionName": "A"}]}, "parentRefs[0].sectionName"),
        ({"parentRefs": [{**GATEWAY, "port": 0}]}, "parentRefs[0].port"),
        ({"parentRefs": [{**GATEWAY, "port": True}]}, "parentRefs[0].port"),
        ({"domain": ""}, "exactly one of hostnames and domain"),
        ({"hostnames": ["a.example"]}, "exactly one of hostnames and domain"),
        ({"domain": "*.example.com"}, "domain must be a DNS domain"),
        ({"domain": "a" * 60 + ".b" * 36}, "at most 125"),
        ({"domain": "", "hostnames": ["*.example.com"]}, "without wildcards"),
        ({"domain": "", "hostnames": ["A.example"]}, "in lower case"),
        ({"domain": "", "hostnames": ["a"] * 17}, "at most 16"),
        ({"requestTimeout": "1 hour"}, "requestTimeout must be a duration"),
        ({"endpointPicker": {"name": "{service}-{service}"}}, "endpointPicker.name"),
        ({"endpointPicker": {"name": "{namespace}-epp"}}, "endpointPicker.name"),
        ({"endpointPicker": {"name": "epp", "port": 65536}}, "endpointPicker.port"),
        ({"endpointPicker": {"name": "epp", "failureMode": "Open"}}, "FailClose or FailOpen"),
        ({"endpointPicker": {"name": "epp", "namespace": "a"}}, "endpointPicker must be an object"),
        ({"gateways": []}, "gateways is unknown"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError) as error:
        settings({**LEAST, **change})
    assert words in str(error.value) and "LLMSERVICE_GATEWAY_API" in str(error.value)
