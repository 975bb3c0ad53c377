"""The StatefulSet whose pods run the engine.

Its pod template follows from the spec and the platform alone. Nothing that changes without the user's or the
platform team's doing may enter it: each change of the template restarts pods that hold GPUs.
"""

from typing import Any

from llmservice_contract.container import HTTP_PORT
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.render import names, scheduling, volumes
from llmservice_operator.render.container import make_engine_container
from llmservice_operator.render.objects import Owner, metadata, sealed
from llmservice_operator.render.platform import Platform
from llmservice_operator.render.pod import pod_base

ENDING_SECONDS = 20
"""What vLLM may take to end once no request is left."""


def make_statefulset(
    owner: Owner, spec: LLMServiceSpec, platform: Platform, configmap: str, replicas: int
) -> dict[str, Any]:
    """The StatefulSet with ``replicas`` engines that take their environment from ``configmap``."""
    return sealed(
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": metadata(owner, names.engine_statefulset(owner.name), names.ENGINE_COMPONENT),
            "spec": {
                "replicas": replicas,
                "serviceName": names.headless_service(owner.name),
                "podManagementPolicy": "Parallel",
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
                "minReadySeconds": 0,
                "revisionHistoryLimit": 3,
                "selector": {"matchLabels": names.selector(owner.name, names.ENGINE_COMPONENT)},
                "template": _template(owner, spec, platform, configmap),
                **volumes.engine_claims(owner.name, spec),
            },
        }
    )


def _template(owner: Owner, spec: LLMServiceSpec, platform: Platform, configmap: str) -> dict[str, Any]:
    return {
        "metadata": {
            "labels": names.labels(owner.name, names.ENGINE_COMPONENT),
            "annotations": {
                names.SCRAPE_ANNOTATION: "true",
                names.SCRAPE_PORT_ANNOTATION: str(HTTP_PORT),
                names.SCRAPE_PATH_ANNOTATION: "/metrics",
            },
        },
        "spec": {
            **pod_base(platform, owns_disks=spec.cache is not None),
            **scheduling.engine_scheduling(owner.name, spec),
            "terminationGracePeriodSeconds": spec.shutdown.lame_duck_seconds
            + spec.shutdown.drain_seconds
            + ENDING_SECONDS,
            "containers": [make_engine_container(spec, platform, configmap)],
            "volumes": volumes.engine_volumes(owner.name, spec),
        },
    }
