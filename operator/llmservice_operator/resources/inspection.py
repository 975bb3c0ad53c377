"""The Job that reads a model's configuration before GPUs are requested.

A Job's template is immutable, so its name includes a hash of its content: another model has another Job.
"""

from typing import Any

from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import kinds, names, outgoing, scheduling, volumes
from llmservice_operator.resources.container import make_inspection_container
from llmservice_operator.resources.objects import Owner, canonical, metadata, sealed
from llmservice_operator.resources.platform import Platform
from llmservice_operator.resources.pod import pod_base, pod_metadata

DEADLINE_SECONDS = 900
"""Maximum duration of an inspection, in seconds."""


def make_inspection(
    owner: Owner, spec: LLMServiceSpec, platform: Platform, refresh: str | None = None, *, beside_engines: bool = False
) -> dict[str, Any]:
    """The Job for ``spec``: one attempt, whose result is the termination message of its container. Another ``refresh``
    makes another Job. ``beside_engines``: its pod must run on the node of the service's pods, because no other node can
    mount their volume."""
    content: dict[str, Any] = {
        "backoffLimit": 0,
        "completions": 1,
        "parallelism": 1,
        "activeDeadlineSeconds": DEADLINE_SECONDS,
        "template": {
            "metadata": pod_metadata(spec, platform, names.labels(owner.name, names.INSPECTION_COMPONENT)),
            "spec": {
                **pod_base(spec, platform),
                **(_beside_engines(owner.name, spec) if beside_engines else _scheduling(spec)),
                "restartPolicy": "Never",
                "containers": [make_inspection_container(spec, platform)],
                "volumes": [*volumes.inspection_volumes(spec), *outgoing.volumes(owner.name, platform)],
            },
        },
    }
    name = names.inspection(owner.name, canonical(content) + (refresh or ""))
    return sealed(
        {
            **kinds.JOB.header,
            "metadata": metadata(owner, name, names.INSPECTION_COMPONENT),
            "spec": content,
        }
    )


def _beside_engines(service: str, spec: LLMServiceSpec) -> dict[str, Any]:
    """Kubernetes accepts any node if the service has no other pods."""
    engine = scheduling.engine_scheduling(service, spec)
    near = {"labelSelector": {"matchLabels": names.of_service(service)}, "topologyKey": "kubernetes.io/hostname"}
    fields = {
        **_scheduling(spec),
        "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [near]}},
    }
    return fields | {name: engine[name] for name in ("tolerations",) if name in engine}


def _scheduling(spec: LLMServiceSpec) -> dict[str, Any]:
    """The node selector and tolerations in the spec: only those nodes are known to reach the images and volumes."""
    fields = scheduling.user_scheduling(spec.scheduling)
    fields.pop("runtimeClassName", None)
    return fields
