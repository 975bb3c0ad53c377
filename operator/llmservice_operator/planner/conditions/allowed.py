"""Whether the platform allows the ServiceAccount, sources, store and devices of a spec.

Checked before any object is created.
"""

from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.planner.report import phrases, reasons
from llmservice_operator.planner.report.condition import Verdict, no
from llmservice_operator.resources.platform import Allowed


def check(namespace: str, spec: LLMServiceSpec, allowed: Allowed, *, model_of_platform: bool = False) -> Verdict | None:
    """The first objection; None if everything is allowed. ``model_of_platform``: whether the model is one of the
    platform's catalogue, whose source the platform chose."""
    return (
        _service_account(namespace, spec, allowed)
        or _sources(spec, allowed, model_of_platform=model_of_platform)
        or _store(spec, allowed)
        or _engine(spec, allowed)
        or _devices(spec, allowed)
    )


def _service_account(namespace: str, spec: LLMServiceSpec, allowed: Allowed) -> Verdict | None:
    """Otherwise anyone who may write LLMServices could use the permissions and cloud roles of every ServiceAccount of
    the namespace."""
    name = spec.service_account_name
    if name is None or f"{namespace}/{name}" in allowed.service_accounts:
        return None
    return no(
        reasons.SERVICE_ACCOUNT_NOT_ALLOWED,
        f"spec.serviceAccountName is {name}, but the platform does not allow ServiceAccount {namespace}/{name}",
        field="spec.serviceAccountName",
        fix=f"remove it, or ask the platform team to add {namespace}/{name} to the chart value allowed.serviceAccounts",
    )


def _sources(spec: LLMServiceSpec, allowed: Allowed, *, model_of_platform: bool) -> Verdict | None:
    """Otherwise any host could receive the token in the service's Secret, and a user could probe which hosts and ports
    answer."""
    draft = spec.engine.speculative.model if spec.engine.speculative is not None else None
    model = None if model_of_platform else spec.model.source
    listed = [(each.source, "spec.adapters") for each in spec.adapters or ()]
    for source, field in ((model, "spec.model.source"), (draft, "spec.engine.speculative.model"), *listed):
        if source is None or allowed.sources is None or source_in_lower_case(source).startswith(allowed.sources):
            continue
        return no(
            reasons.SOURCE_NOT_ALLOWED,
            f"{field} is {source}, but the platform allows only {', '.join(allowed.sources) or 'no source'}",
            field=field,
            fix="use one of these, or ask the platform team to add its prefix to the chart value allowed.sources",
        )
    return None


def source_in_lower_case(source: str) -> str:
    """The source with the host of a hub in lower case, because host names ignore case."""
    scheme, separator, rest = source.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.lower() if scheme == 'https' else host}{slash}{path}"


def _store(spec: LLMServiceSpec, allowed: Allowed) -> Verdict | None:
    limits = spec.access.rate_limits
    if limits is None or limits.store is None or allowed.stores is None:
        return None
    address = limits.store.address
    if address.lower() in allowed.stores:
        return None
    return no(
        reasons.STORE_NOT_ALLOWED,
        f"spec.access.rateLimits.store.address is {address}, but the platform allows only {', '.join(allowed.stores)}",
        field="spec.access.rateLimits.store.address",
        fix="use one of these, or ask the platform team to add it to the chart value allowed.stores",
    )


def _engine(spec: LLMServiceSpec, allowed: Allowed) -> Verdict | None:
    """Names that the platform takes out of what every service could set."""
    for field, entries, permitted, forbidden, value in (
        ("spec.engine.extraArgs", spec.engine.extra_args, allowed.extra_args, allowed.extra_args_except, "extraArgs"),
        ("spec.engine.env", spec.engine.env, allowed.engine_env, allowed.engine_env_except, "engineEnv"),
    ):
        for name in sorted(entries or {}):
            if name not in forbidden and (permitted is None or name in permitted):
                continue
            return no(
                reasons.ENGINE_ARGUMENT_NOT_ALLOWED,
                f"{field} sets {name}, which the platform does not allow",
                field=field,
                fix=f"remove it, or ask the platform team to allow it by the chart values allowed.{value} and "
                f"allowed.{value}Except",
            )
    return None


def _devices(spec: LLMServiceSpec, allowed: Allowed) -> Verdict | None:
    """A DeviceClass can contain devices that are kept for other teams."""
    name, selectors = spec.accelerator.device_class_name, spec.accelerator.device_selectors
    if name is not None and allowed.device_classes is not None and name not in allowed.device_classes:
        permitted = phrases.join_truncated(allowed.device_classes) if allowed.device_classes else "none"
        return no(
            reasons.DEVICE_CLASS_NOT_ALLOWED,
            f"spec.accelerator.deviceClassName is {name}, but the platform allows {permitted}",
            field="spec.accelerator.deviceClassName",
            fix="use an allowed one, or ask the platform team to add it to the chart value allowed.deviceClasses",
        )
    if selectors and not allowed.device_selectors:
        return no(
            reasons.DEVICE_CLASS_NOT_ALLOWED,
            "spec.accelerator.deviceSelectors is set, but the platform allows no selectors",
            field="spec.accelerator.deviceSelectors",
            fix="remove it, or ask the platform team to set the chart value allowed.deviceSelectors to true, or for a "
            "DeviceClass with these selectors",
        )
    return None
