"""All children of an accepted service, by their role."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources.access import make_access
from llmservice_operator.resources.adapters import make_adapters
from llmservice_operator.resources.autoscaler import make_autoscaler
from llmservice_operator.resources.configmap import make_configmap
from llmservice_operator.resources.device_claims import make_device_claim_template
from llmservice_operator.resources.disruption import make_disruption_budget
from llmservice_operator.resources.gateway_api import make_http_route, make_inference_pool
from llmservice_operator.resources.networkpolicy import make_network_policies
from llmservice_operator.resources.objects import Owner
from llmservice_operator.resources.outgoing import make_platform_ca
from llmservice_operator.resources.platform import Platform
from llmservice_operator.resources.services import make_client_service, make_headless_service
from llmservice_operator.resources.statefulset import make_statefulset

Child = dict[str, Any]
"""A desired object."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Children:
    """The children of a service. They are applied in the order of the fields: NetworkPolicies before any pod, and
    objects that pods refer to before the StatefulSets. Those of Gateways are applied after all others."""

    network_policies: tuple[Child, ...]
    """Empty if the platform uses no policies."""
    platform_ca: Child | None = None
    """The ConfigMap with the platform's CAs; None if there are none."""
    inspections: tuple[Child, ...] = ()
    """Inspection Jobs. Whether one is needed depends on more than the spec."""
    access: Child
    """The ConfigMap with the access policy."""
    adapters: Child | None = None
    """The ConfigMap with the LoRA adapters; None if the engine serves none."""
    environment: Child
    """The ConfigMap with the engine's environment."""
    device_claim_template: Child | None
    """The ResourceClaimTemplate; None if the pods claim no devices."""
    headless_service: Child
    client_service: Child
    inference_pool: Child | None = None
    """None if no endpoint picker chooses the pods, or the cluster has no InferencePools."""
    http_route: Child | None = None
    """None if services are not attached to Gateways, or the cluster has no HTTPRoutes."""
    disruption_budget: Child
    autoscaler: Child | None
    """None if the service is not scaled, or not by an object of the operator."""
    workers: tuple[Child, ...]
    """The StatefulSets of the workers, the highest rank first; empty if a replica is one pod."""
    leader: Child
    """The StatefulSet of rank 0."""

    def __iter__(self) -> Iterator[Child]:
        """All children, in the order in which they are applied."""
        for field in dataclasses.fields(self):
            value: Child | tuple[Child, ...] | None = getattr(self, field.name)
            if isinstance(value, tuple):
                yield from value
            elif value is not None:
                yield value

    @property
    def statefulsets(self) -> tuple[Child, ...]:
        """The StatefulSets of all ranks, in the order in which they are applied."""
        return (*self.workers, self.leader)


def make_children(
    owner: Owner, spec: LLMServiceSpec, platform: Platform, replicas: int, variables: Mapping[str, str] | None = None
) -> Children:
    """The children, without inspections. ``variables`` is the engine's environment if it is already rendered."""
    environment = make_configmap(owner, spec, platform, variables)
    configmap = environment["metadata"]["name"]
    workers = reversed(range(1, spec.parallelism.nodes_per_replica))
    return Children(
        network_policies=tuple(make_network_policies(owner, spec, platform.network, replicas)),
        platform_ca=make_platform_ca(owner, platform),
        access=make_access(owner, spec, platform.allowed),
        adapters=make_adapters(owner, spec),
        environment=environment,
        device_claim_template=make_device_claim_template(owner, spec),
        headless_service=make_headless_service(owner, platform),
        client_service=make_client_service(owner, platform),
        inference_pool=make_inference_pool(owner, platform),
        http_route=make_http_route(owner, platform),
        disruption_budget=make_disruption_budget(owner, spec),
        autoscaler=make_autoscaler(owner, spec.scaling, platform),
        workers=tuple(make_statefulset(owner, spec, platform, configmap, replicas, rank) for rank in workers),
        leader=make_statefulset(owner, spec, platform, configmap, replicas),
    )
