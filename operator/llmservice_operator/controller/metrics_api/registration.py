"""Registers the metrics API with the API server, and reports if the API server can't use it.

The chart installs the APIService and a Service without a selector. The leader writes its own address into the Service's
EndpointSlice and its CA into the APIService if they differ, and nothing else. The API server of Kubernetes 1.33 reads
Endpoints instead: they are written beside the slice if the settings say so.
"""

import base64
import ipaddress
import logging
import time
from collections.abc import Callable
from typing import Any

from llmservice_operator.autoscaling import metrics_unavailable
from llmservice_operator.autoscaling.external_metrics import API_GROUP, API_SERVICE
from llmservice_operator.autoscaling.metrics_unavailable import MetricsUnavailable
from llmservice_operator.config.scaling import ScalingSettings
from llmservice_operator.controller.client.api import Cluster
from llmservice_operator.controller.client.errors import ApiError, RequestRefused
from llmservice_operator.resources import kinds, names
from llmservice_operator.resources.kinds import Kind

AUTHORITY_MANAGER = "llmservice-operator-metrics-api"
"""Field manager of the CA in the APIService."""
UNAVAILABLE_SECONDS = 20.0
"""How long the APIService may be unavailable before it is reported: the API server retries in the meantime."""

_SERVICE_LABEL = "kubernetes.io/service-name"
_SLICE_MANAGER_LABEL = "endpointslice.kubernetes.io/managed-by"
_NO_MIRROR_LABEL = "endpointslice.kubernetes.io/skip-mirror"

logger = logging.getLogger(__name__)


class Registration:
    """The APIService and the EndpointSlice. ``bundle`` returns the CAs as PEM."""

    def __init__(
        self,
        cluster: Cluster,
        settings: ScalingSettings,
        namespace: str,
        bundle: Callable[[], str],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._namespace = namespace
        self._bundle = bundle
        self._now = now
        self._unavailable_since: float | None = None
        self._last: MetricsUnavailable | None = None

    @property
    def _service(self) -> str:
        return f"{self._namespace}/{self._settings.api_service}"

    async def ensure(self) -> MetricsUnavailable | None:
        """Write what differs. Returns why the HPA gets no metrics through the API server, or None if it does."""
        try:
            self._last = await self._look()
        except RequestRefused as error:
            self._last = MetricsUnavailable(
                metrics_unavailable.ADAPTER_UNAVAILABLE, f"The operator can't register its metrics API: {error}"
            )
        except ApiError as error:  # probably temporary: the last result counts
            logger.warning("Could not read the registration of the metrics API: %s", error)
        return self._last

    async def _look(self) -> MetricsUnavailable | None:
        if not self._settings.pod_ip:
            return MetricsUnavailable(
                metrics_unavailable.ADAPTER_UNAVAILABLE,
                "The operator does not know its own address: set LLMSERVICE_POD_IP from the field status.podIP",
            )
        found = await self._cluster.get(kinds.API_SERVICE, None, API_SERVICE)
        if found is None:
            return MetricsUnavailable(
                metrics_unavailable.ADAPTER_UNAVAILABLE,
                f"{API_GROUP} is not served: the APIService {API_SERVICE} is missing. "
                "The chart installs it with scaling.adapter own",
            )
        if taken := self._taken(found["spec"].get("service")):
            return taken
        service = await self._cluster.get(kinds.SERVICE, self._namespace, self._settings.api_service)
        if service is None:
            return MetricsUnavailable(
                metrics_unavailable.ADAPTER_UNAVAILABLE,
                f"The Service {self._service} of the metrics API is missing. "
                "The chart installs it with scaling.adapter own",
            )
        await self._ensure_address(service, found["spec"]["service"].get("port", 443))
        if await self._ensure_authority(found):
            self._unavailable_since = None  # the API server checks again
            return None
        return self._unavailable(found)

    def _taken(self, service: dict[str, Any] | None) -> MetricsUnavailable | None:
        owner = f"{service['namespace']}/{service['name']}" if service else "the API server itself"
        if owner == self._service:
            return None
        if "keda" in owner:
            advice = "set the chart value scaling.adapter to keda"
        else:
            advice = "set the chart value scaling.adapter to prometheusAdapter if that is prometheus-adapter"
        return MetricsUnavailable(
            metrics_unavailable.METRICS_API_TAKEN,
            f"{API_GROUP} is served by {owner}: {advice}, or remove its APIService {API_SERVICE}",
        )

    async def _ensure_address(self, service: dict[str, Any], port: int) -> None:
        name = next((each.get("name", "") for each in service["spec"]["ports"] if each["port"] == port), "")
        ports = [{"name": name, "port": self._settings.api_port, "protocol": "TCP"}]
        wrote = await self._ensure(kinds.ENDPOINT_SLICE, self._slice(service["metadata"], ports))
        if self._settings.api_endpoints:
            wrote |= await self._ensure(kinds.ENDPOINTS, self._endpoints(service["metadata"], ports))
        if wrote:
            logger.info("Registered the metrics API at %s", self._settings.pod_ip)

    async def _ensure(self, kind: Kind, wanted: dict[str, Any]) -> bool:
        """Writes the object if it differs. Returns whether it did."""
        meta = wanted["metadata"]
        found = await self._cluster.get(kind, meta["namespace"], meta["name"])
        if found is not None and _has(wanted, found):
            return False
        await self._cluster.apply(wanted, uid=found["metadata"]["uid"] if found else None)
        return True

    def _slice(self, service: dict[str, Any], ports: list[dict[str, Any]]) -> dict[str, Any]:
        address = ipaddress.ip_address(self._settings.pod_ip)
        labels = {_SERVICE_LABEL: service["name"], _SLICE_MANAGER_LABEL: names.OPERATOR}
        return {
            **_of_service(kinds.ENDPOINT_SLICE, service, labels),
            "addressType": f"IPv{address.version}",
            "endpoints": [{"addresses": [str(address)], "conditions": {"ready": True}}],
            "ports": ports,
        }

    def _endpoints(self, service: dict[str, Any], ports: list[dict[str, Any]]) -> dict[str, Any]:
        """Not mirrored: there is an EndpointSlice."""
        subset = {"addresses": [{"ip": str(ipaddress.ip_address(self._settings.pod_ip))}], "ports": ports}
        return {**_of_service(kinds.ENDPOINTS, service, {_NO_MIRROR_LABEL: "true"}), "subsets": [subset]}

    async def _ensure_authority(self, found: dict[str, Any]) -> bool:
        """Writes the CA if it differs. Returns whether it did."""
        wanted = base64.b64encode(self._bundle().encode()).decode()
        if found["spec"].get("caBundle") == wanted:
            return False
        uid = found["metadata"]["uid"]
        body = {
            "apiVersion": kinds.API_SERVICE.api_version,
            "kind": kinds.API_SERVICE.kind,
            "metadata": {"name": API_SERVICE},
            "spec": {"caBundle": wanted},
        }
        await self._cluster.apply(body, uid=uid, manager=AUTHORITY_MANAGER)
        logger.info("Wrote the CA of the metrics API into its APIService")
        return True

    def _unavailable(self, found: dict[str, Any]) -> MetricsUnavailable | None:
        conditions = found.get("status", {}).get("conditions") or []
        available: dict[str, Any] = next((each for each in conditions if each["type"] == "Available"), {})
        if available.get("status") == "True":
            self._unavailable_since = None
            return None
        if self._unavailable_since is None:
            self._unavailable_since = self._now()
        if self._now() - self._unavailable_since <= UNAVAILABLE_SECONDS:
            return None
        message = available.get("message") or "not checked yet"
        address = self._settings.pod_ip
        host = f"[{address}]" if ":" in address else address
        return MetricsUnavailable(
            metrics_unavailable.ADAPTER_UNAVAILABLE,
            f"The API server gets no response from the metrics API ({self._service}, "
            f"{host}:{self._settings.api_port}): {message}. "
            "If it can't connect, check network policies and firewalls between the two. If the API server reaches no "
            "addresses of pods, as on EKS with an overlay CNI, set the chart value hostNetwork to true",
        )


def _of_service(kind: Kind, service: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    """The head of an object with the name of the Service, which owns it. ``service``: its metadata."""
    owner = {"apiVersion": "v1", "kind": "Service", "name": service["name"], "uid": service["uid"]}
    meta = {"namespace": service["namespace"], "name": service["name"], "labels": labels, "ownerReferences": [owner]}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta}


def _has(wanted: Any, found: Any) -> bool:
    """Whether ``found`` contains all of ``wanted``; it may have other keys too."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_has(value, found.get(key)) for key, value in wanted.items())
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(wanted) == len(found)
            and all(_has(*pair) for pair in zip(wanted, found, strict=True))
        )
    return bool(wanted == found)
