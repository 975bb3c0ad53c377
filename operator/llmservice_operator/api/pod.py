"""What a service adds to its pods: labels, annotations, and the image with its pull secrets."""

from typing import Annotated

from pydantic import Field

from llmservice_operator.api.base import LABEL_KEY, MAX_KEY_LENGTH, APIType, LabelValue, Rule, SubdomainName

MOST_KEYS = 16
"""Maximum number of labels, and of annotations."""
MOST_PULL_SECRETS = 4

RESERVED_KEY = (
    r"^(([-a-z0-9.]+[.])?llmservice[.]dev/.*"
    r"|app[.]kubernetes[.]io/(name|instance|component|part-of|managed-by)"
    r"|(controller-revision-hash|pod-template-hash|pod-template-generation|controller-uid|job-name)"
    r"|(statefulset|apps|batch|controller|kubectl|scheduler[.]alpha|pod-security|seccomp[.]security[.]alpha"
    r"|security[.]alpha|container[.]apparmor[.]security[.]beta)[.]kubernetes[.]io/.*"
    r"|kubernetes[.]io/.*"
    r"|prometheus[.]io/(scrape|port|path))$"
)
"""Keys of the operator, of Kubernetes' controllers and of the kubelet, and those that weaken a pod's security."""

IMAGE = (
    r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+"
    r"(:[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?(@sha256:[0-9a-f]{64})?$"
)
MAX_IMAGE_LENGTH = 512

AnnotationValue = Annotated[str, Field(max_length=1024, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")]
"""Text without control characters, except line breaks and tabs."""


def _key_rules(field: str) -> tuple[Rule, Rule]:
    return (
        Rule(
            f"!has(self.{field}) || self.{field}.all(key, key.size() <= {MAX_KEY_LENGTH} && "
            f"key.matches('{LABEL_KEY}'))",
            f"a key of {field} must be a name with or without a prefix, such as cost-center or example.com/team, of at "
            f"most {MAX_KEY_LENGTH} characters",
            f".{field}",
        ),
        Rule(
            f"!has(self.{field}) || self.{field}.all(key, !key.matches('{RESERVED_KEY}'))",
            f"a key of {field} must not be one that the operator, Prometheus' scraping or Kubernetes itself uses, such "
            "as app.kubernetes.io/name",
            f".{field}",
        ),
    )


class Pod(APIType):
    """What is added to the pods of the engine and to the pod that reads the model's configuration."""

    labels: Annotated[dict[str, LabelValue], Field(min_length=1, max_length=MOST_KEYS)] | None = None
    """Labels of the pods, such as `cost-center: "42"` or `sidecar.istio.io/inject: "false"`, in addition to the
    platform's (chart value `defaults.podLabels`) and to the operator's own. The platform lists the keys that it allows
    (`allowed.podLabels`). They are in no selector. A change replaces the pods by a rollout. Absent: no others."""

    annotations: Annotated[dict[str, AnnotationValue], Field(min_length=1, max_length=MOST_KEYS)] | None = None
    """Annotations of the pods, likewise (`defaults.podAnnotations`, `allowed.podAnnotations`). Absent: no others."""

    image: Annotated[str, Field(pattern=IMAGE, max_length=MAX_IMAGE_LENGTH)] | None = None
    """Image of the engine, with its registry and a tag or digest, such as `registry.example.com/llm/runtime:0.3.0`: a
    build of this project's runtime image. The platform must allow it (`allowed.images`). Absent: the platform's image
    for the accelerator."""

    image_pull_secrets: (
        Annotated[
            list[SubdomainName],
            Field(min_length=1, max_length=MOST_PULL_SECRETS, json_schema_extra={"x-kubernetes-list-type": "set"}),
        ]
        | None
    ) = None
    """Names of Secrets of this namespace with the login of the image's registry, in addition to the platform's (chart
    value `runtime.pullSecrets`). The platform must allow them (`allowed.imagePullSecrets`). Absent: no others."""

    rules = (
        *_key_rules("labels"),
        *_key_rules("annotations"),
        Rule(
            "!has(self.image) || self.image.split('/')[0].matches('[.:]|^localhost$')",
            "image must begin with the host of its registry, such as registry.example.com/llm/runtime:0.3.0",
            ".image",
        ),
        Rule(
            "!has(self.image) || self.image.matches('(:[^/:@]+|@sha256:[0-9a-f]{64})$')",
            "image must end with a tag or a digest, such as registry.example.com/llm/runtime:0.3.0",
            ".image",
        ),
    )
