"""The StatefulSet of the engine pods.

Its pod template follows only from the spec and the platform. Nothing that changes without an action of the user or the
platform team may affect it, because each change of the template restarts pods with GPUs.
"""

from typing import Any

from llmservice_contract.container import METRICS_PATH, METRICS_PORT
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import device_claims, kinds, names, outgoing, scheduling, volumes
from llmservice_operator.resources.container import make_engine_container
from llmservice_operator.resources.objects import Owner, metadata, sealed
from llmservice_operator.resources.platform import Platform
from llmservice_operator.resources.pod import pod_base, pod_metadata

ENDING_SECONDS = 20
"""Maximum time that vLLM needs to exit without requests."""


def make_statefulset(
    owner: Owner, spec: LLMServiceSpec, platform: Platform, configmap: str, replicas: int, rank: int = 0
) -> dict[str, Any]:
    """The StatefulSet with ``replicas`` pods of one rank, which take their environment from ``configmap``. Pods with
    the same index belong to one replica."""
    component = names.component_of_rank(rank)
    return sealed(
        {
            **kinds.STATEFULSET.header,
            "metadata": metadata(owner, names.engine_statefulset(owner.name, rank), component),
            "spec": {
                "replicas": replicas,
                "serviceName": names.headless_service(owner.name),
                "podManagementPolicy": "Parallel",
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
                "minReadySeconds": 0,
                "revisionHistoryLimit": 3,
                "selector": {"matchLabels": _selector(owner.name, rank)},
                "template": _template(owner, spec, platform, configmap, rank),
                **volumes.engine_claims(owner.name, spec, rank),
            },
        }
    )


def _selector(service: str, rank: int) -> dict[str, str]:
    """Workers have a rank label in addition, because otherwise their StatefulSets would select each other's pods."""
    ranked = {names.RANK_LABEL: str(rank)} if rank else {}
    return {**names.selector(service, names.component_of_rank(rank)), **ranked}


def _template(owner: Owner, spec: LLMServiceSpec, platform: Platform, configmap: str, rank: int) -> dict[str, Any]:
    scraped = {
        names.SCRAPE_ANNOTATION: "true",
        names.SCRAPE_PORT_ANNOTATION: str(METRICS_PORT),
        names.SCRAPE_PATH_ANNOTATION: METRICS_PATH,
    }
    annotations = {**(scraped if rank == 0 else {}), **device_claims.annotations(spec)}
    nodes = spec.parallelism.nodes_per_replica
    ranked = {names.NODES_LABEL: str(nodes), names.RANK_LABEL: str(rank)} if spec.parallelism.is_multi_node else {}
    return {
        "metadata": pod_metadata(
            spec,
            platform,
            {**names.labels(owner.name, names.component_of_rank(rank)), **ranked},
            annotations or None,
        ),
        "spec": {
            **pod_base(spec, platform, owns_disks=spec.cache is not None),
            **scheduling.engine_scheduling(owner.name, spec, rank),
            "terminationGracePeriodSeconds": spec.shutdown.lame_duck_seconds
            + spec.shutdown.drain_seconds
            + ENDING_SECONDS,
            "containers": [make_engine_container(owner.name, spec, platform, configmap, rank)],
            "volumes": [
                *volumes.engine_volumes(owner.name, spec, platform, rank),
                *outgoing.volumes(owner.name, platform),
            ],
            **device_claims.of_pod(owner.name, spec),
        },
    }
