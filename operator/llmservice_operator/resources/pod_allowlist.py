"""What services may add to their pods: keys of labels and annotations, images, pull secrets, further devices.

An entry is a name, or a prefix that ends with ``*``. A prefix never covers a key that gives a pod rights or that
Kubernetes reads; such a key needs an entry of its own.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence

from llmservice_operator.api.pod import RESERVED_KEY
from llmservice_operator.api.service import LLMServiceSpec

ANY = "*"
_OF_KUBERNETES = re.compile(r"([-a-z0-9.]+[.])?(kubernetes|k8s)[.]io/.*")
_GIVES_RIGHTS = (
    "aadpodidbinding",
    "azure.workload.identity/",
    "cni.projectcalico.org/",
    "config.alpha.linkerd.io/",
    "config.linkerd.io/",
    "consul.hashicorp.com/",
    "iam.amazonaws.com/",
    "inject.istio.io/",
    "io.kubernetes.",
    "k8s.v1.cni.cncf.io/",
    "proxy.istio.io/",
    "sidecar.istio.io/bootstrapOverride",
    "sidecar.istio.io/proxyImage",
    "sidecar.istio.io/user",
    "v1.multus-cni.io/",
    "vault.hashicorp.com/",
    "vault.security.banzaicloud.io/",
)
"""Beginnings of keys by which other software gives a pod a cloud role, networks, devices, volumes, Secrets or a
container of another image."""


@dataclasses.dataclass(frozen=True)
class AllowedPod:
    """The platform's lists. The defaults are those of the chart."""

    labels: tuple[str, ...] = (
        "sidecar.istio.io/inject",
        "istio.io/rev",
        "kueue.x-k8s.io/queue-name",
        "kueue.x-k8s.io/priority-class",
    )
    annotations: tuple[str, ...] = ("sidecar.istio.io/inject", "linkerd.io/inject")
    images: tuple[str, ...] = ()
    """``HOST/PATH/`` for everything below it, ``HOST/PATH/NAME`` for a repository, or that with a tag or a digest."""
    images_by_digest_only: bool = False
    image_pull_secrets: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    """Extended resources that ``spec.resources.devices`` may have."""


@dataclasses.dataclass(frozen=True)
class Denied:
    """A value of the spec that the platform does not allow."""

    field: str
    """Path, such as ``spec.pod.labels``."""
    what: str
    value: str
    """The chart value below ``allowed`` that would allow it; empty if nothing allows it."""
    allowed: Sequence[str]


def is_reserved(key: str) -> bool:
    """Whether no service and no platform may set a label or annotation with this key."""
    return re.fullmatch(RESERVED_KEY, key) is not None


def denied(spec: LLMServiceSpec, allowed: AllowedPod) -> Denied | None:
    """The first value that is not allowed; None if all are."""
    return next(_denied(spec, allowed), None)


def _denied(spec: LLMServiceSpec, allowed: AllowedPod) -> Iterator[Denied]:
    pod = spec.pod
    of_keys: tuple[tuple[str, Mapping[str, str] | None, str, Sequence[str]], ...] = (
        ("spec.pod.labels", pod.labels, "podLabels", allowed.labels),
        ("spec.pod.annotations", pod.annotations, "podAnnotations", allowed.annotations),
    )
    for field, entries, value, permitted in of_keys:
        for key in sorted(entries or {}):
            if is_reserved(key):
                yield Denied(field, key, "", ())
            elif not _key_allowed(key, permitted):
                yield Denied(field, key, value, permitted)
    if pod.image is not None and not image_allowed(pod.image, allowed):
        only = ("images with a digest",) if allowed.images_by_digest_only and "@" not in pod.image else ()
        yield Denied("spec.pod.image", pod.image, "images", only or allowed.images)
    for name in pod.image_pull_secrets or ():
        if not _listed(name, allowed.image_pull_secrets):
            yield Denied("spec.pod.imagePullSecrets", name, "imagePullSecrets", allowed.image_pull_secrets)
    for name in spec.resources.devices or ():
        if not _listed(name, allowed.devices):
            yield Denied("spec.resources.devices", name, "devices", allowed.devices)


def image_allowed(image: str, allowed: AllowedPod) -> bool:
    """Whether an entry covers ``image``. A tag beside a digest counts for nothing, because container runtimes ignore
    it."""
    name, _, digest = image.partition("@")
    repository = re.sub(r":[^/:]*$", "", name) if "/" in name else name
    if allowed.images_by_digest_only and not digest:
        return False
    exact = f"{repository}@{digest}" if digest else image
    return any(
        repository.startswith(entry) if entry.endswith("/") else entry in (repository, exact)
        for entry in allowed.images
    )


def _key_allowed(key: str, entries: Sequence[str]) -> bool:
    if key in entries:
        return True
    needs_own_entry = _OF_KUBERNETES.fullmatch(key) or key.startswith(_GIVES_RIGHTS)
    return not needs_own_entry and _listed(key, entries)


def _listed(name: str, entries: Sequence[str]) -> bool:
    prefixes = tuple(entry.removesuffix(ANY) for entry in entries if entry.endswith(ANY))
    return name in entries or name.startswith(prefixes)
