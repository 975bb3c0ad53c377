"""All children of an accepted service, in the order in which they are applied."""

from typing import Any

from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.render.access import make_access
from llmservice_operator.render.autoscaler import make_autoscaler
from llmservice_operator.render.configmap import make_configmap
from llmservice_operator.render.disruption import make_disruption_budget
from llmservice_operator.render.networkpolicy import make_network_policies
from llmservice_operator.render.objects import Owner
from llmservice_operator.render.platform import Platform
from llmservice_operator.render.services import make_client_service, make_headless_service
from llmservice_operator.render.statefulset import make_statefulset


def make_children(owner: Owner, spec: LLMServiceSpec, platform: Platform, replicas: int) -> list[dict[str, Any]]:
    """The children: the access policy is the first, and the StatefulSet, after all that its pods refer to, the last;
    those of the ranks above 0 come just before it."""
    configmap = make_configmap(owner, spec, platform)
    ranks = reversed(range(spec.parallelism.nodes_per_replica))
    return [
        make_access(owner, spec, platform.allowed),
        configmap,
        *make_network_policies(owner, spec, platform.network, replicas),
        make_headless_service(owner),
        make_client_service(owner),
        make_disruption_budget(owner, spec),
        *make_autoscaler(owner, spec.scaling, platform),
        *(make_statefulset(owner, spec, platform, configmap["metadata"]["name"], replicas, rank) for rank in ranks),
    ]
