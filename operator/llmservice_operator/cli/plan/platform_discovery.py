"""Finds the platform settings, as far as the user may read them: images, pull secrets, domain, autoscaler.

If the user may read the operator's Deployment, its environment has all of them. Otherwise they are derived from the
service's children, which show all settings that children depend on, except for two: the image of an accelerator of
another type, and the upgrade window.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pydantic

from llmservice_contract.choices import AcceleratorType
from llmservice_contract.container import ENGINE_CONTAINER, PLATFORM_CA_FILE
from llmservice_operator import __version__
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.planner.model import drift, pods, revisions
from llmservice_operator.planner.model.rollout_record import Record
from llmservice_operator.resources import gateway_api, names, outgoing
from llmservice_operator.resources.children import make_children
from llmservice_operator.resources.environment import tracing_of
from llmservice_operator.resources.kinds import HTTP_ROUTE, INFERENCE_POOL
from llmservice_operator.resources.networkpolicy import network_of
from llmservice_operator.resources.objects import Owner
from llmservice_operator.resources.platform import Adapter, Platform
from llmservice_operator.resources.pod_allowlist import is_reserved

Object = Mapping[str, Any]

_SCALES_TO_ZERO, _SETS_TOLERANCE = 37, 35
"""Minor versions of Kubernetes from which on autoscalers can, as a rule."""
_DEVICE_CLAIMS = 34
"""Minor version from which on it has resource.k8s.io/v1."""
_IMAGES = {
    AcceleratorType.NVIDIA: "runtime_image",
    AcceleratorType.AMD: "runtime_image_amd",
    AcceleratorType.CPU: "runtime_image_cpu",
}


OPERATOR_CONTAINER = "operator"
"""Name of the container in the operator's Deployment."""


@dataclasses.dataclass(frozen=True)
class DiscoveredPlatform:
    """The platform, and how it is known."""

    platform: Platform
    from_operator: bool
    """Whether the operator's own Deployment shows it."""
    notes: tuple[str, ...] = ()


def from_deployment(deployments: Sequence[Object], namespace: str, minor: int | None) -> DiscoveredPlatform | None:
    """As the operator that serves the namespace is set; None if none can be read."""
    from llmservice_operator.config.settings import SettingsError, from_environment

    for deployment in deployments:
        container = _container(deployment["spec"]["template"]["spec"], OPERATOR_CONTAINER)
        environ = {each["name"]: each["value"] for each in container.get("env") or () if _is_plain(each)}
        served = [each for each in environ.get("LLMSERVICE_NAMESPACES", "").split(",") if each]
        if served and namespace not in served:
            continue
        try:
            platform = from_environment(environ).platform
        except SettingsError:
            continue
        version = str((deployment["metadata"].get("labels") or {}).get("app.kubernetes.io/version") or "")
        other = version and version != __version__
        note = f"the operator has version {version}, this program {__version__}: the rendered objects may differ"
        return DiscoveredPlatform(_with_autoscalers(platform, (), minor), True, (note,) if other else ())
    return None


def from_children(
    service: Object | None, children: Sequence[Object], siblings: Sequence[Object], spec: Object, minor: int | None
) -> DiscoveredPlatform:
    """As the children of the service show it, or those of other services beside it. ``spec``: the one to come."""
    sets = [each for each in children if each["kind"] == "StatefulSet"] or list(siblings)
    platform, notes = Platform(adapter=Adapter.OWN), []
    before = _accelerator((service or {}).get("spec") or {})
    if sets:
        template = sets[0]["spec"]["template"]["spec"]
        engine = _container(template, ENGINE_CONTAINER)
        of = before if service is not None else _accelerator_of(engine)
        shown = any(each["kind"] == "StatefulSet" for each in children)
        own = ((service or {}).get("spec") or {}).get("pod") or {}
        pulled = (each["name"] for each in template.get("imagePullSecrets") or ())
        platform = dataclasses.replace(
            platform,
            image_pull_policy=engine.get("imagePullPolicy") or platform.image_pull_policy,
            image_pull_secrets=tuple(name for name in pulled if name not in (own.get("imagePullSecrets") or ())),
            pod_labels=_added(sets[0], "labels", own) if shown else {},
            pod_annotations=_added(sets[0], "annotations", own) if shown else {},
            **({} if engine["image"] == own.get("image") else {_IMAGES[of]: engine["image"]}),
        )
        if of is not _accelerator(spec):
            notes.append("the engine image for this accelerator is not known: assuming the default")
    else:
        notes.append("the settings of the operator can't be read: assuming its defaults")
    return DiscoveredPlatform(
        _with_autoscalers(_with_domain(platform, service), children, minor, service), False, tuple(notes)
    )


def _container(template: Object, name: str) -> Object:
    """The container with this name, otherwise the first one: a webhook may have added others before it."""
    containers: Sequence[Object] = template["containers"]
    return next((each for each in containers if each.get("name") == name), containers[0])


def _added(statefulset: Object, field: str, pod: Object) -> dict[str, str]:
    """What the platform added to the labels or annotations of the pods: neither the operator's own nor the spec's."""
    found = statefulset["spec"]["template"].get("metadata", {}).get(field) or {}
    stated = pod.get(field) or {}
    return {key: value for key, value in found.items() if key not in stated and not is_reserved(key)}


def with_network(standing: DiscoveredPlatform, name: str, children: Sequence[Object]) -> DiscoveredPlatform:
    """With what the service's NetworkPolicy shows: the API server's addresses, which the operator finds out itself, or
    all of it if the Deployment can't be read."""
    policies = (each for each in children if each["kind"] == "NetworkPolicy")
    live = next((each for each in policies if pods.name(each) == names.network_policy(name)), None)
    shown, platform = network_of(live) if live is not None else None, standing.platform
    if shown is None or (standing.from_operator and platform.network is None):
        return standing
    if not standing.from_operator or platform.network is None:
        return dataclasses.replace(standing, platform=dataclasses.replace(platform, network=shown))
    addresses = platform.network.api_server or shown.api_server
    network = dataclasses.replace(platform.network, api_server=addresses)
    return dataclasses.replace(standing, platform=dataclasses.replace(platform, network=network))


def with_outgoing(
    standing: DiscoveredPlatform, name: str, children: Sequence[Object], service: Object | None = None
) -> DiscoveredPlatform:
    """With what the service's children show: the platform's CAs, which the operator reads from a file, and proxy, user,
    addresses and the collector of traces if the Deployment can't be read."""
    by_name = {(each["kind"], pods.name(each)): each for each in children}
    data = (by_name.get(("ConfigMap", names.platform_ca(name))) or {}).get("data") or {}
    bundle, platform = data.get(PLATFORM_CA_FILE), standing.platform
    if standing.from_operator:
        if platform.ca_bundle is None or bundle is None:
            return standing
        return dataclasses.replace(standing, platform=dataclasses.replace(platform, ca_bundle=bundle))
    live = by_name.get(("StatefulSet", names.engine_statefulset(name)))
    if live is None:
        return standing
    template = live["spec"]["template"]
    environment = next((by_name.get(("ConfigMap", each)) for each in pods.environments(template)), None) or {}
    client = (by_name.get(("Service", names.client_service(name))) or {}).get("spec") or {}
    policy = client.get("ipFamilyPolicy") or ""
    variables = environment.get("data") or {}
    own = service is not None and (service.get("spec") or {}).get("tracing") is None
    endpoint, percent = tracing_of(variables) if own else ("", platform.tracing_sampling_percent)
    shown = dataclasses.replace(
        platform,
        tracing_endpoint=endpoint,
        tracing_sampling_percent=percent,
        ca_bundle=bundle,
        proxy=outgoing.proxy_of(variables, platform.cluster_domain),
        fixed_user="runAsUser" in (template["spec"].get("securityContext") or {}),
        # The API server enters SingleStack by itself.
        ip_family_policy="" if policy == "SingleStack" else policy,
    )
    return dataclasses.replace(standing, platform=shown)


def with_gateways(
    standing: DiscoveredPlatform, name: str, children: Sequence[Object], absent: Collection[str]
) -> DiscoveredPlatform:
    """With the kinds of the Gateway API that can be read, and what the service's children show of the Gateways if the
    Deployment can't be read."""
    by_name = {(each["kind"], pods.name(each)): each for each in children}
    route = by_name.get((HTTP_ROUTE.kind, names.http_route(name)))
    pool = by_name.get((INFERENCE_POOL.kind, names.inference_pool(name)))
    settings = standing.platform.gateway_api
    if not standing.from_operator and route is not None:
        settings = gateway_api.settings_of(route, pool)
    platform = dataclasses.replace(
        standing.platform,
        gateway_api=settings,
        http_routes=HTTP_ROUTE.kind not in absent,
        inference_pools=INFERENCE_POOL.kind not in absent,
    )
    return dataclasses.replace(standing, platform=platform)


def alike(children: Sequence[Object], service: Object, platform: Platform) -> bool:
    """Whether the service's pods are as this program would have them; also if that can't be determined."""
    try:
        spec = LLMServiceSpec.model_validate(service.get("spec"))
        meta = service["metadata"]
        spec = revisions.pinned_by_status(spec, service.get("status") or {})
        rendered = make_children(Owner(meta["name"], meta["namespace"], meta["uid"]), spec, platform, 1)
    except (pydantic.ValidationError, ValueError):
        return True
    wanted = {pods.name(each): each["spec"]["template"] for each in rendered.statefulsets}
    return all(
        drift.within(wanted[name], child["spec"]["template"])
        for child in children
        if child["kind"] == "StatefulSet" and (name := pods.name(child)) in wanted and _is_as_asked(child)
    )


def _is_as_asked(statefulset: Object) -> bool:
    """Whether it has the template that its service's spec asks for, not one that it went back to."""
    record = Record.of(statefulset)
    return record is not None and record.failure is None


def _with_domain(platform: Platform, service: Object | None) -> Platform:
    """The address ends in the cluster's domain."""
    address = str(((service or {}).get("status") or {}).get("address") or "")
    _, found, domain = address.partition(".svc.")
    return dataclasses.replace(platform, cluster_domain=domain) if found else platform


def _with_autoscalers(
    platform: Platform, children: Sequence[Object], minor: int | None, service: Object | None = None
) -> Platform:
    newest = minor is None
    platform = dataclasses.replace(
        platform,
        tolerance_is_settable=newest or (minor or 0) >= _SETS_TOLERANCE,
        scales_to_zero=newest or (minor or 0) >= _SCALES_TO_ZERO,
        device_claims=newest or (minor or 0) >= _DEVICE_CLAIMS,
    )
    for child in children:
        if child["kind"] == "ScaledObject":
            return _with_keda(platform, child)
        if child["kind"] == "HorizontalPodAutoscaler":
            up = (child["spec"].get("behavior") or {}).get("scaleUp") or {}
            return dataclasses.replace(platform, tolerance_is_settable=up.get("tolerance") is not None)
    scaled = ((service or {}).get("spec") or {}).get("scaling") is not None
    seasoned = bool(((service or {}).get("status") or {}).get("selector"))
    return dataclasses.replace(platform, adapter=Adapter.NONE) if scaled and seasoned else platform


def _with_keda(platform: Platform, child: Object) -> Platform:
    trigger = ((child["spec"].get("triggers") or [{}])[0]) or {}
    said = trigger.get("metadata") or {}
    return dataclasses.replace(
        platform,
        adapter=Adapter.KEDA,
        prometheus_url=str(said.get("serverAddress") or ""),
        prometheus_insecure=said.get("unsafeSsl") == "true",
        keda_auth_modes=str(said.get("authModes") or ""),
        keda_headers=str(said.get("customHeaders") or ""),
        keda_authentication=str((trigger.get("authenticationRef") or {}).get("name") or ""),
    )


def _accelerator(spec: Object) -> AcceleratorType:
    try:
        return AcceleratorType((spec.get("accelerator") or {}).get("type") or AcceleratorType.NVIDIA)
    except ValueError:
        return AcceleratorType.NVIDIA


def _accelerator_of(engine: Object) -> AcceleratorType:
    """By what the container asks for."""
    limits = (engine.get("resources") or {}).get("limits") or {}
    if not any("/" in name for name in limits):
        return AcceleratorType.CPU
    return AcceleratorType.AMD if any(name.startswith("amd.com/") for name in limits) else AcceleratorType.NVIDIA


def _is_plain(variable: Mapping[str, Any]) -> bool:
    """Whether its value stands there, and is no file of the operator's own."""
    return "value" in variable and not str(variable["name"]).endswith("_FILE")
