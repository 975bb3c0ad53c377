"""What the specs of all rendered pods share."""

from typing import Any

from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import security
from llmservice_operator.resources.platform import Platform


def pod_base(spec: LLMServiceSpec, platform: Platform, *, owns_disks: bool = False) -> dict[str, Any]:
    """Fields of a pod spec that hold for every pod: restricted, without a token, pulled as the platform says."""
    pull = [{"name": name} for name in platform.image_pull_secrets]
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        **({"serviceAccountName": spec.service_account_name} if spec.service_account_name else {}),
        "securityContext": security.pod_security(owns_disks=owns_disks),
        **({"imagePullSecrets": pull} if pull else {}),
    }
