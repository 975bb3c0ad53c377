"""The objects by which a gateway of the Gateway API serves a service: an HTTPRoute, and an InferencePool if an endpoint
picker chooses the pod of each request.

Host and path come from the names of namespace and service alone. Every default of the API is stated, because lists of a
route have one owner: a further field in them would be a change.
"""

from collections.abc import Mapping
from typing import Any

from llmservice_contract.container import HTTP_PORT
from llmservice_operator.resources import kinds, names
from llmservice_operator.resources.objects import Owner, metadata, sealed
from llmservice_operator.resources.platform import (
    SERVICE_PLACEHOLDER,
    EndpointPicker,
    GatewayAPI,
    ParentRef,
    Platform,
)

GATEWAY_KIND = "Gateway"


def make_http_route(owner: Owner, platform: Platform) -> dict[str, Any] | None:
    """The route; None if services are not attached to Gateways, or the cluster has no HTTPRoutes."""
    settings = platform.gateway_api
    if settings is None or not platform.http_routes:
        return None
    rule: dict[str, Any] = {"matches": [{"path": {"type": "PathPrefix", "value": path(owner, settings)}}]}
    if not settings.domain:
        rewrite = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}
        rule["filters"] = [{"type": "URLRewrite", "urlRewrite": rewrite}]
    rule["backendRefs"] = [_backend(owner, platform)]
    if settings.request_timeout:
        rule["timeouts"] = {"request": settings.request_timeout}
    return sealed(
        {
            **kinds.HTTP_ROUTE.header,
            "metadata": metadata(owner, names.http_route(owner.name), names.ENGINE_COMPONENT),
            "spec": {
                "parentRefs": [_parent(each) for each in settings.parents],
                "hostnames": list(hostnames(owner, settings)),
                "rules": [rule],
            },
        }
    )


def make_inference_pool(owner: Owner, platform: Platform) -> dict[str, Any] | None:
    """The pool of the pods that answer requests; None if the route does not use it."""
    settings = platform.gateway_api
    if settings is None or settings.endpoint_picker is None or not uses_pool(platform):
        return None
    picker = settings.endpoint_picker
    return sealed(
        {
            **kinds.INFERENCE_POOL.header,
            "metadata": metadata(owner, names.inference_pool(owner.name), names.ENGINE_COMPONENT),
            "spec": {
                "selector": {"matchLabels": names.selector(owner.name, names.ENGINE_COMPONENT)},
                "targetPorts": [{"number": HTTP_PORT}],
                "endpointPickerRef": {
                    "group": "",
                    "kind": kinds.SERVICE.kind,
                    "name": picker.service_for(owner.name),
                    "port": {"number": picker.port},
                    "failureMode": picker.failure_mode,
                },
            },
        }
    )


def uses_pool(platform: Platform) -> bool:
    """Whether routes send requests to InferencePools in place of Services."""
    settings = platform.gateway_api
    return (
        settings is not None
        and settings.endpoint_picker is not None
        and platform.http_routes
        and platform.inference_pools
    )


def hostnames(owner: Owner, settings: GatewayAPI) -> tuple[str, ...]:
    """Host names at which a service is served."""
    return (f"{owner.name}.{owner.namespace}.{settings.domain}",) if settings.domain else settings.hostnames


def path(owner: Owner, settings: GatewayAPI) -> str:
    """Path below which it is served there."""
    return "/" if settings.domain else f"/namespaces/{owner.namespace}/services/{owner.name}"


def addresses(owner: Owner, settings: GatewayAPI) -> tuple[str, ...]:
    """Host and path of each address; the gateway's listeners determine scheme and port."""
    return tuple(host + path(owner, settings).rstrip("/") for host in hostnames(owner, settings))


def settings_of(route: Mapping[str, Any], pool: Mapping[str, Any] | None) -> GatewayAPI | None:
    """The settings from which these objects of a service were made; None for objects of another form."""
    try:
        meta, spec = route["metadata"], route["spec"]
        (rule,) = spec["rules"]
        own = f"{meta['labels'][names.INSTANCE_LABEL]}.{meta['namespace']}."
        hosts = tuple(spec["hostnames"])
        domain = "" if rule.get("filters") else hosts[0].removeprefix(own)
        return GatewayAPI(
            parents=tuple(map(_parent_of, spec["parentRefs"])),
            hostnames=() if domain else hosts,
            domain=domain,
            request_timeout=(rule.get("timeouts") or {}).get("request", ""),
            endpoint_picker=None if pool is None else _picker_of(pool),
        )
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        return None


def _parent(ref: ParentRef) -> dict[str, Any]:
    return {
        "group": kinds.HTTP_ROUTE.group,
        "kind": GATEWAY_KIND,
        "name": ref.name,
        **({"namespace": ref.namespace} if ref.namespace else {}),
        **({"sectionName": ref.section_name} if ref.section_name else {}),
        **({"port": ref.port} if ref.port is not None else {}),
    }


def _parent_of(ref: Mapping[str, Any]) -> ParentRef:
    return ParentRef(ref["name"], ref.get("namespace", ""), ref.get("sectionName", ""), ref.get("port"))


def _backend(owner: Owner, platform: Platform) -> dict[str, Any]:
    if uses_pool(platform):
        kind, name, port = kinds.INFERENCE_POOL, names.inference_pool(owner.name), {}
    else:
        kind, name, port = kinds.SERVICE, names.client_service(owner.name), {"port": names.CLIENT_PORT}
    return {"group": kind.group, "kind": kind.kind, "name": name, **port, "weight": 1}


def _picker_of(pool: Mapping[str, Any]) -> EndpointPicker:
    """The name of the LLMService in the name of the picker's Service may be there by chance; then both are the same."""
    ref, service = pool["spec"]["endpointPickerRef"], pool["metadata"]["name"]
    name = ref["name"].replace(service, SERVICE_PLACEHOLDER, 1)
    return EndpointPicker(name, ref["port"]["number"], ref["failureMode"])
