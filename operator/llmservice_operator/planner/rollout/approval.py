"""Whether a change of the pod template that does not come from the spec may restart pods.

Another version of the operator, or other images in its chart, may render another template for the same spec. Such a
change waits for an approval of exactly this change, for the platform's upgrade window, or for a change of the spec.
"""

import dataclasses
import datetime
from typing import Any

from llmservice_operator import __version__
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.api.status import UpgradeOffer
from llmservice_operator.planner.model import drift, pods
from llmservice_operator.planner.model.observed import Object
from llmservice_operator.planner.model.rollout_record import Record
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.rollout.template_diff import changes
from llmservice_operator.resources import names
from llmservice_operator.resources.limits import NONE
from llmservice_operator.resources.objects import canonical
from llmservice_operator.resources.platform import Platform, Upgrades

_NO_POD_DEPENDS_ON: dict[str, Any] = {
    "replicas": True,
    "scaling": True,
    "rollout": True,
    "scheduling": {"max_node_provision_seconds"},
}


def operator_digest(platform: Platform) -> str:
    """Digest of everything besides the spec that the pod template depends on."""
    images = [platform.runtime_image, platform.runtime_image_amd, platform.runtime_image_cpu]
    pulling = [platform.image_pull_policy, *platform.image_pull_secrets]
    limits = [platform.memory_limit, platform.ephemeral_storage_limit]
    media = platform.allowed.media_domains
    traces = ["trace flags"] if platform.allowed.trace_flags else []
    traces += [platform.tracing_endpoint, str(platform.tracing_sampling_percent)] if platform.tracing_endpoint else []
    pods_have = {"labels": dict(platform.pod_labels), "annotations": dict(platform.pod_annotations)}
    added: list[dict[str, Any]] = [{name: entries} for name, entries in pods_have.items() if entries]
    added += [{"cpu": platform.cpu_limit}] if platform.cpu_limit != NONE else []
    user = [] if platform.fixed_user else ["no fixed user"]
    proxy = [] if platform.proxy is None else [platform.proxy.http, platform.proxy.https, *platform.proxy.no_proxy]
    # Pods have the path of the CAs, not their content.
    authorities = [] if platform.ca_bundle is None else ["CAs"]
    network = [*user, *proxy, *authorities]
    parts = [__version__, *images, *pulling, platform.cluster_domain, *limits, *media, *traces, *added, *network]
    return names.digest(canonical(parts))


def spec_digest(spec: LLMServiceSpec) -> str:
    """Digest of the spec without the fields that do not affect pods.

    Values that are the default do not count: a field that a later version adds must not look like a change by the user,
    which would restart all pods at an upgrade.
    """
    stated = spec.model_dump(mode="json", exclude=_NO_POD_DEPENDS_ON, exclude_defaults=True)
    return names.digest(canonical({name: value for name, value in stated.items() if value != {}}))


def requires_approval(state: ServiceState, template: Object, asked: Record, known: Record | None) -> bool:
    """Whether the rendered ``template`` needs approval. A StatefulSet without a record counts as rendered from the
    current spec."""
    live = state.statefulset
    if live is None or _agreed(state, asked.template):
        return False
    if known is None:
        return not drift.within(template, live["spec"]["template"])
    if known.template == asked.template or known.by == asked.by:
        return False
    if known.waiting_by == asked.by:
        return known.waiting == asked.template
    return known.spec == asked.spec


def kept(asked: Record, known: Record) -> Record:
    """The record of the current template while the one in ``asked`` waits for approval."""
    return dataclasses.replace(known, spec=asked.spec, waiting=asked.template, waiting_by=asked.by)


def offer(state: ServiceState, template: Object, environment: Object, waiting: str) -> UpgradeOffer:
    """The change that waits for approval, for the status."""
    live = state.statefulset or {}
    found = changes(live["spec"]["template"], template, _environment(state, live), environment["data"])
    return UpgradeOffer(digest=waiting, version=__version__, changes=found)


def begins_at(state: ServiceState) -> datetime.datetime | None:
    """When the platform's upgrade window opens next; None if there is none."""
    window = state.observed.platform.upgrade_window
    return None if window is None else window.next_begin(state.observed.now)


def _agreed(state: ServiceState, template: str) -> bool:
    platform = state.observed.platform
    window, said = platform.upgrade_window, pods.annotations(state.observed.service).get(names.UPGRADE_ANNOTATION)
    open_now = window is not None and window.holds(state.observed.now)
    return said == template or platform.upgrades is Upgrades.AUTOMATIC or open_now


def _environment(state: ServiceState, live: Object) -> dict[str, str]:
    for name in pods.environments(live["spec"]["template"]):
        return dict((state.child("ConfigMap", name) or {}).get("data") or {})
    return {}
