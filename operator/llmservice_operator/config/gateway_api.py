"""The platform's settings for Gateways of the Gateway API: a JSON object that the chart writes for its value
``gateway``."""

import re
from collections.abc import Iterator
from typing import Any

from llmservice_operator.config.section import DNS_LABEL, Problems, json_object
from llmservice_operator.resources.platform import SERVICE_PLACEHOLDER, EndpointPicker, GatewayAPI, ParentRef

MOST_PARENTS = 8
MOST_HOSTNAMES = 16
"""Maximum number of host names of an HTTPRoute."""
LONGEST_DOMAIN = 125
"""Maximum length of ``domain``. With the names of a service and a namespace a host name has at most 253 characters."""
FAILURE_MODES = ("FailClose", "FailOpen")

_FIELDS = ("parentRefs", "hostnames", "domain", "requestTimeout", "endpointPicker")
_PARENT_FIELDS = ("name", "namespace", "sectionName", "port")
_PICKER_FIELDS = ("name", "port", "failureMode")
_HOSTNAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_DURATION = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}")


def read_gateway_api(text: str) -> GatewayAPI:
    """The settings in ``text``. Raises Problems."""
    given = json_object(text, "in the form that the chart writes for its value gateway")
    problems = list(_problems(given))
    if problems:
        raise Problems(*problems)
    picker = given.get("endpointPicker") or {}
    return GatewayAPI(
        parents=tuple(
            ParentRef(each["name"], each.get("namespace", ""), each.get("sectionName", ""), each.get("port"))
            for each in given["parentRefs"]
        ),
        hostnames=tuple(given.get("hostnames", ())),
        domain=given.get("domain", ""),
        request_timeout=given.get("requestTimeout", "0s"),
        endpoint_picker=(
            EndpointPicker(picker["name"], picker.get("port", 9002), picker.get("failureMode", FAILURE_MODES[0]))
            if picker.get("name")
            else None
        ),
    )


def _problems(given: dict[str, Any]) -> Iterator[str]:
    for name in given:
        if name not in _FIELDS:
            yield f"{name[:64]} is unknown; the fields are {', '.join(_FIELDS)}"
    yield from _problems_of_parents(given.get("parentRefs"))
    hostnames, domain = given.get("hostnames", []), given.get("domain", "")
    if not isinstance(hostnames, list) or len(hostnames) > MOST_HOSTNAMES or not all(map(_is_hostname, hostnames)):
        yield f"hostnames must be a list of at most {MOST_HOSTNAMES} host names in lower case, without wildcards"
    if domain != "" and (not _is_hostname(domain) or len(domain) > LONGEST_DOMAIN):
        yield f"domain must be a DNS domain in lower case, of at most {LONGEST_DOMAIN} characters"
    if bool(hostnames) == bool(domain):
        yield "exactly one of hostnames and domain must be set"
    timeout = given.get("requestTimeout", "")
    if not isinstance(timeout, str) or (timeout and not _DURATION.fullmatch(timeout)):
        yield "requestTimeout must be a duration of the Gateway API such as 0s, 30s or 1h30m, or empty"
    yield from _problems_of_picker(given.get("endpointPicker"))


def _problems_of_parents(parents: Any) -> Iterator[str]:
    if not isinstance(parents, list) or not 1 <= len(parents) <= MOST_PARENTS:
        yield f"parentRefs must be a list of 1 to {MOST_PARENTS} Gateways"
        return
    for number, each in enumerate(parents):
        if not isinstance(each, dict) or not each.keys() <= set(_PARENT_FIELDS) or not _is(_NAME, each.get("name")):
            yield f"parentRefs[{number}] must have the name of a Gateway, and may have {', '.join(_PARENT_FIELDS[1:])}"
            continue
        if "namespace" in each and not _is(DNS_LABEL, each["namespace"]):
            yield f"parentRefs[{number}].namespace must be the name of a namespace"
        if "sectionName" in each and not _is(_NAME, each["sectionName"]):
            yield f"parentRefs[{number}].sectionName must be the name of a listener"
        if "port" in each and not _is_port(each["port"]):
            yield f"parentRefs[{number}].port must be a port"


def _problems_of_picker(picker: Any) -> Iterator[str]:
    if picker is None:
        return
    if not isinstance(picker, dict) or not picker.keys() <= set(_PICKER_FIELDS):
        yield f"endpointPicker must be an object with {', '.join(_PICKER_FIELDS)}"
        return
    name = picker.get("name", "")
    if name and not _is_picker(name):
        yield (
            "endpointPicker.name must be the name of a Service, in which one "
            f"{SERVICE_PLACEHOLDER} stands for the name of the LLMService"
        )
    if not _is_port(picker.get("port", 9002)):
        yield "endpointPicker.port must be a port"
    if picker.get("failureMode", FAILURE_MODES[0]) not in FAILURE_MODES:
        yield f"endpointPicker.failureMode must be {' or '.join(FAILURE_MODES)}"


def _is(pattern: re.Pattern[str], text: Any) -> bool:
    return isinstance(text, str) and bool(pattern.fullmatch(text))


def _is_hostname(text: Any) -> bool:
    return _is(_HOSTNAME, text)


def _is_port(number: Any) -> bool:
    return type(number) is int and 1 <= number <= 65_535


def _is_picker(name: Any) -> bool:
    if not isinstance(name, str) or name.count(SERVICE_PLACEHOLDER) > 1:
        return False
    return _is(DNS_LABEL, name.replace(SERVICE_PLACEHOLDER, "a"))
