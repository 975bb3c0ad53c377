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
VALUE = "the chart value runtime.images"
_BACK_OFF = re.compile(r'^Back-off pulling image "[^"]*"(: (ErrImagePull: )?)?')


@dataclasses.dataclass(frozen=True)
class PullFailure:
    """One reason why an image can't be pulled."""

    reason: str
    pattern: str
    fix: str
    alternative: str = ""


REFUSALS = (
    PullFailure(
        reasons.IMAGE_NAME_INVALID,
        r"couldn't parse image|invalid reference format|InvalidImageName",
        f"correct the image name in {VALUE} (and imageRegistry)",
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
        f"build the image for the node's CPU architecture too ({VALUE}), or choose other nodes with "
        f"spec.scheduling.nodeSelector (kubernetes.io/arch)",
    ),
    PullFailure(
        reasons.NODE_DISK_FULL,
        r"no space left on device",
        "free space on the node's disk, for example by removing unused images, or use another node",
    ),
    PullFailure(
        reasons.IMAGE_DENIED,
        r"does not exist or may require|insufficient_scope|may require authorization",
        f"set a pull secret of this namespace in the chart value runtime.pullSecrets, or correct {VALUE}",
        alternative="the registry has no image with that name",
    ),
    PullFailure(
        reasons.IMAGE_DENIED,
        r"\b40[13]\b|[Uu]nauthorized|authentication required|no basic auth credentials|[Ff]orbidden|access denied"
        r"|authorization failed|failed to authorize|denied: ",
        "set a valid pull secret of this namespace in the chart value runtime.pullSecrets: the current one is "
        "missing or not accepted",
    ),
    PullFailure(
        reasons.IMAGE_NOT_FOUND,
        r"not found|manifest unknown|name unknown|\b404\b|no such image",
        f"correct the image name and tag in {VALUE} (and imageRegistry), or push the image",
    ),
    PullFailure(
        reasons.REGISTRY_UNREACHABLE,
        r"RegistryUnavailable|dial tcp|connection (?:refused|reset)|i/o timeout|no such host|TLS handshake"
        r"|deadline exceeded|x509: |HTTP response to HTTPS client|\b50[0234]\b|unexpected EOF|: EOF",
        "check the registry, its certificate, and the network path from the node to it; the kubelet retries "
        "automatically",
    ),
)


def not_pulled(context: PodContext) -> Problem | None:
    """The image can't be pulled."""
    waiting = context.waiting
    if waiting.get("reason") not in WAITS:
        return None
    said = _BACK_OFF.sub("", waiting.get("message") or "") or waiting["reason"]
    what = f"image {context.image} can't be pulled: {phrases.tail(said)}"
    for refusal in REFUSALS:
        if re.search(refusal.pattern, f"{waiting['reason']}: {said}"):
            return problem(
                reasons.IMAGE_PULL,
                context.name,
                what,
                cause=refusal.reason,
                alternative=refusal.alternative,
                fix=refusal.fix,
            )
    return problem(
        reasons.IMAGE_PULL,
        context.name,
        what,
        fix=f"check {VALUE}, the pull secrets, and the registry",
    )
