"""Whether the platform lets a service name what its spec names, checked before any object is made for it."""

from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.core import reasons
from llmservice_operator.core.verdict import Verdict, no
from llmservice_operator.render.allowed import Allowed


def check(namespace: str, spec: LLMServiceSpec, allowed: Allowed) -> Verdict | None:
    """The first objection; None for none."""
    return _service_account(namespace, spec, allowed)


def _service_account(namespace: str, spec: LLMServiceSpec, allowed: Allowed) -> Verdict | None:
    """Who may write LLMServices could otherwise use the rights and the cloud roles of every ServiceAccount there."""
    name = spec.service_account_name
    if name is None or f"{namespace}/{name}" in allowed.service_accounts:
        return None
    return no(
        reasons.SERVICE_ACCOUNT_NOT_ALLOWED,
        f"spec.serviceAccountName is {name}, and the platform does not allow ServiceAccount {namespace}/{name}",
        field="spec.serviceAccountName",
        fix=f"take it out, or ask the platform team to add {namespace}/{name} to the chart value "
        "allowed.serviceAccounts",
    )
