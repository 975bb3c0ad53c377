"""The responses of the metrics API as JSON: metric values, discovery, and errors in the form of a Kubernetes Status."""

import functools
import json
from collections.abc import Iterable
from typing import Any

import msgspec

from llmservice_operator import __version__
from llmservice_operator.autoscaling.external_metrics import API_GROUP, API_VERSION
from llmservice_operator.controller.metrics_api.source import Sample
from llmservice_operator.planner.model import timestamps

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}


class StatusError(Exception):
    """A failed request. ``message`` is for people; HPAs show it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def body(self) -> bytes:
        """The Status as JSON."""
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": _REASONS[self.code],
            "code": self.code,
        }
        return json.dumps(status).encode()


GROUP_VERSION = f"{API_GROUP}/{API_VERSION}"

_VERSION = {"groupVersion": GROUP_VERSION, "version": API_VERSION}
_GROUP = {"name": API_GROUP, "versions": [_VERSION], "preferredVersion": _VERSION}
GROUPS = json.dumps({"kind": "APIGroupList", "apiVersion": "v1", "groups": [_GROUP]}).encode()
GROUP = json.dumps({"kind": "APIGroup", "apiVersion": "v1", **_GROUP}).encode()

# Without a schema the API server logs an error every hour; an empty one is sufficient.
_ABOUT = {"title": "LLMService: external metrics", "version": __version__}
OPENAPI_2 = json.dumps({"swagger": "2.0", "info": _ABOUT, "paths": {}}).encode()
OPENAPI_3 = json.dumps({"paths": {}}).encode()

_LIST = {"kind": "ExternalMetricValueList", "apiVersion": GROUP_VERSION, "metadata": {}}


def values(samples: Iterable[Sample]) -> bytes:
    """An ExternalMetricValueList."""
    return msgspec.json.encode({**_LIST, "items": [_value(each) for each in samples]})


@functools.lru_cache(maxsize=8)
def resources(names: tuple[str, ...]) -> bytes:
    """The APIResourceList with the metrics.

    Their verb is ``get``, as with other adapters, so that clients that list all resources of a namespace skip them.
    """
    found = [
        {"name": name, "singularName": "", "namespaced": True, "kind": "ExternalMetricValueList", "verbs": ["get"]}
        for name in names
    ]
    document = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP_VERSION, "resources": found}
    return json.dumps(document).encode()


def quantity(milli: int) -> str:
    """Thousandths as a Kubernetes quantity: ``200``, ``187500m``."""
    whole, rest = divmod(milli, 1000)
    return f"{milli}m" if rest else str(whole)


def _value(sample: Sample) -> dict[str, Any]:
    document = {
        "metricName": sample.metric,
        "metricLabels": sample.labels,
        "timestamp": _timestamp(sample.at),
        "value": quantity(sample.milli),
    }
    return document if sample.window_seconds is None else document | {"window": sample.window_seconds}


_timestamp = functools.lru_cache(maxsize=8)(timestamps.show)
"""Cached, because all services have the same few timestamps."""
