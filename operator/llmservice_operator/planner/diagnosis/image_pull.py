"""Why an image can't be pulled, by the message of the container runtime.

The patterns are for messages of containerd, CRI-O and the registries behind them; the first one that matches counts.
"""

import dataclasses
import re

from llmservice_operator.planner.diagnosis.pod_context import PodContext
from llmservice_operator.planner.report import phrases, reasons
from llmservice_operator.planner.report.problem import Problem, problem

WAITS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
"""Reasons of a container that waits for its image."""
_OF_PLATFORM = {
    "image": "the chart value runtime.images",
    "registry": " (and imageRegistry)",
    "secret": "the chart value runtime.pullSecrets",
}
_OF_SPEC = {"image": "spec.pod.image", "registry": "", "secret": "spec.pod.imagePullSecrets"}
_BACK_OFF = re.compile(r'^Back-off pulling image "[^"]*"(: (ErrImagePull: )?)?')


@dataclasses.dataclass(frozen=True)
class PullFailure:
    """One reason why an image can't be pulled. The fix may use the keys of ``_OF_PLATFORM``."""

    reason: str
    pattern: str
    fix: str
    alternative: str = ""


REFUSALS = (
    PullFailure(
        reasons.IMAGE_NAME_INVALID,
        r"couldn't parse image|invalid reference format|InvalidImageName",
        "correct the image name in {image}{registry}",
    ),
    PullFailure(
        reasons.IMAGE_NEVER_PULLED,
        r"ErrImageNeverPull|not present with pull policy of Never",
        "load the image onto the node, or set the chart value runtime.pullPolicy to IfNotPresent",
    ),
    PullFailure(
        reasons.IMAGE_WRONG_PLATFORM,
        r"no match(?:ing manifest)? for (?:platform|\w+/\w+)|no image found in (?:image index|manifest list) for arch"
        r"|does not match the specified platform",
        "build the image for the node's CPU architecture too ({image}), or choose other nodes with "
        "spec.scheduling.nodeSelector (kubernetes.io/arch)",
    ),
    PullFailure(
        reasons.NODE_DISK_FULL,
        r"no space left on device",
        "free space on the node's disk, for example by removing unused images, or use another node",
    ),
    PullFailure(
        reasons.REGISTRY_RATE_LIMITED,
        r"(?i)toomanyrequests|too many requests|(?:status(?: code)?:?|HTTP) 429\b|rate limit exceeded|rate exceeded"
        r"|pull QPS exceeded",
        "nothing if it passes: the kubelet retries automatically; if it happens again, set a pull secret of an account "
        "with a higher limit in the chart value runtime.pullSecrets, or use a mirror (the chart value imageRegistry)",
    ),
    PullFailure(
        reasons.REGISTRY_UNREACHABLE,
        r"RegistryUnavailable|dial tcp|connection (?:refused|reset)|i/o timeout|no such host|server misbehaving"
        r"|TLS handshake|x509: |HTTP response to HTTPS client|deadline exceeded|Client\.Timeout|unexpected EOF|: EOF"
        r"|(?i:\b50[0234] (?:Internal Server|Bad Gateway|Service|Server|Gateway Time))|(?:status(?: code)?:?) 5\d\d\b",
        "check the registry, its certificate, and the network path from the node to it; the kubelet retries "
        "automatically",
    ),
    PullFailure(
        reasons.IMAGE_DENIED,
        r"does not exist or may require|insufficient_scope|may require authorization",
        "set a pull secret of this namespace in {secret}, or correct {image}",
        alternative="the registry has no image with that name",
    ),
    PullFailure(
        reasons.IMAGE_DENIED,
        r"\b40[13]\b|[Uu]nauthorized|authentication required|no basic auth credentials|[Ff]orbidden|access denied"
        r"|authorization failed|failed to authorize|denied: ",
        "set a valid pull secret of this namespace in {secret}: the current one is missing or not accepted; the "
        "kubelet tries again within 5 minutes, and at once if the pod is deleted",
    ),
    PullFailure(
        reasons.IMAGE_NOT_FOUND,
        r"not found|manifest unknown|name unknown|\b404\b|no such image",
        "correct the image name and tag in {image}{registry}, or push the image",
    ),
)


def not_pulled(context: PodContext) -> Problem | None:
    """The image can't be pulled."""
    waiting = context.waiting
    if waiting.get("reason") not in WAITS:
        return None
    said = _BACK_OFF.sub("", waiting.get("message") or "") or waiting["reason"]
    what = f"image {context.image} can't be pulled: {phrases.tail(said)}"
    places = _OF_SPEC if context.own_image else _OF_PLATFORM
    for refusal in REFUSALS:
        if re.search(refusal.pattern, f"{waiting['reason']}: {said}"):
            return problem(
                reasons.IMAGE_PULL,
                context.name,
                what,
                cause=refusal.reason,
                alternative=refusal.alternative,
                fix=refusal.fix.format_map(places),
            )
    return problem(
        reasons.IMAGE_PULL,
        context.name,
        what,
        fix=f"check {places['image']}, the pull secrets, and the registry",
    )
