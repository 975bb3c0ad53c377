"""Why the API server rejects the pods of a StatefulSet, with the numbers.

Kubernetes reports it only in Events of the StatefulSet.
"""

import dataclasses
import datetime
import re
from collections.abc import Sequence

from llmservice_contract.finding import Finding
from llmservice_operator.planner.model import pods
from llmservice_operator.planner.model.observed import ObservedEvent
from llmservice_operator.planner.model.state import ServiceState
from llmservice_operator.planner.report import phrases, reasons

FRESH = datetime.timedelta(minutes=20)
"""Maximum age of an Event. A StatefulSet retries within 17 minutes, so an older Event is about an earlier attempt."""
_PREFIX = re.compile(r"^(?:create (?:Pod|Claim) .* failed error|Error creating): ")


@dataclasses.dataclass(frozen=True)
class AdmissionRule:
    """One reason why the API server rejects an object. Texts may use the groups of the pattern."""

    reason: str
    pattern: str
    what: str
    fix: str
    field: str = ""


REFUSALS = (
    AdmissionRule(
        reasons.QUOTA_EXCEEDED,
        r"exceeded quota: (?P<quota>[^,]+), requested: (?P<requested>.+?), used: (?P<used>.+?), "
        r"limited: (?P<limited>.+)",
        "ResourceQuota {quota} is exceeded: requested {requested}, used {used}, limited to {limited}",
        "request less (spec.replicas, spec.resources), or ask for a larger quota",
        "spec.replicas",
    ),
    AdmissionRule(
        reasons.LIMIT_EXCEEDED,
        r"(?P<limit>(?:minimum|maximum) \S+ usage per \w+ is .*|\S+ max limit to request ratio per \w+ is .*?)\]?$",
        "a LimitRange of the namespace rejects it: {limit}",
        "set an amount within the limit in {field}",
        "spec.resources.{resource}",
    ),
    AdmissionRule(
        reasons.LIMIT_EXCEEDED,
        r'Invalid value: "?(?P<request>[^"\s]+)"?: must be less than or equal to (?P<limit>\S+ limit of [^\s,\]]+)',
        "it requests {request}, but a LimitRange of the namespace gives it a {limit}",
        "set {field} to {request} or more, which replaces the LimitRange's default, or request less",
        "spec.resources.{resource}",
    ),
    AdmissionRule(
        reasons.POD_SECURITY_DENIED,
        r'violates PodSecurity "(?P<level>[^"]+)": (?P<why>.+)',
        "Pod Security level {level} rejects it: {why}",
        "the operator's pods comply with level restricted: find out what adds the rejected fields, or allow them in "
        "the namespace",
    ),
    AdmissionRule(
        reasons.ADMISSION_UNAVAILABLE,
        r'failed calling webhook "(?P<webhook>[^"]+)": (?P<why>.+)',
        "the admission webhook {webhook} does not respond: {why}",
        "check the webhook's own pods; Kubernetes retries automatically",
    ),
    AdmissionRule(
        reasons.ADMISSION_DENIED,
        r"""admission webhook "(?P<webhook>[^"]+)" denied the request[^:]*: (?P<why>.+)""",
        "the admission webhook {webhook} rejects it: {why}",
        "follow the webhook's message, or ask its owner",
    ),
    AdmissionRule(
        reasons.ADMISSION_DENIED,
        r"ValidatingAdmissionPolicy '(?P<policy>[^']+)' with binding '[^']+' denied request: (?P<why>.+)",
        "the admission policy {policy} rejects it: {why}",
        "follow the policy's message, or ask its owner",
    ),
    AdmissionRule(
        reasons.PRIORITY_CLASS_MISSING,
        r"no PriorityClass with name (?P<name>\S+) was found",
        "PriorityClass {name} does not exist",
        "create it, or set another one in spec.scheduling.priorityClassName",
        "spec.scheduling.priorityClassName",
    ),
    AdmissionRule(
        reasons.SERVICE_ACCOUNT_MISSING,
        r'serviceaccount "(?P<name>[^"]+)" not found',
        "ServiceAccount {name} does not exist in the namespace",
        "create it; Kubernetes creates one named default in every namespace",
    ),
    AdmissionRule(
        reasons.QUOTA_EXCEEDED,
        r"failed quota: (?P<quota>[^:]+): must specify (?P<what>.+)",
        "ResourceQuota {quota} requires {what} to be set",
        "set {field}, or the default of a LimitRange",
        "spec.resources.{resource}",
    ),
)
_NUMBERS = ("requested", "used", "limited")
_FIELDS = {"cpu": "cpu", "memory": "memory", "ephemeral-storage": "ephemeralStorage"}
_ABOUT_LIMIT = re.compile(r"limit is|[Nn]o limit|limit to request ratio|limit of|limits\.")
_CPU_LIMIT = "cpuLimit"
INSPECTION_VALUE = "the chart value defaults.inspectionResources"
"""Where the resources of inspections are set."""


def judge(said: str, *, of_inspection: bool = False) -> Finding | None:
    """The cause for a rejection with the message ``said`` of the API server; None if it is not known."""
    for refusal in REFUSALS:
        if found := re.search(refusal.pattern, said, re.DOTALL):
            words_of = {name: (value or "").strip() for name, value in found.groupdict().items()}
            words_of["resource"] = _resource(words_of.get("limit") or words_of.get("what", ""))
            field = refusal.field.format_map(words_of).removesuffix(".")
            words_of["field"] = field
            if of_inspection and "{resource}" in refusal.field:
                of_cpu_limit = words_of["resource"] == _CPU_LIMIT
                field = field if of_cpu_limit else ""
                words_of["field"] = f"{field} or {INSPECTION_VALUE}" if of_cpu_limit else INSPECTION_VALUE
            return Finding(
                refusal.reason,
                phrases.head(refusal.what.format_map(words_of)),
                numbers={name: words_of[name] for name in _NUMBERS if words_of.get(name)},
                field=field,
                fix=refusal.fix.format_map(words_of),
            )
    return None


def find(state: ServiceState) -> Finding | None:
    """Why pods of the service are missing, if Events report it."""
    made = map(pods.created_at, state.members)
    newest = max((time for time in made if time is not None), default=None)
    sets = [pods.name(each) for each in state.own("StatefulSet")]
    return in_events(state, state.reported("StatefulSet", *sets), newest)


def in_events(
    state: ServiceState,
    events: Sequence[ObservedEvent],
    newest_pod: datetime.datetime | None = None,
    *,
    of_inspection: bool = False,
) -> Finding | None:
    """Why the owner of these ``events`` can't create a pod. Events before the creation of the newest pod don't
    count."""
    for event in reversed(events):
        if not reasons.of(reasons.PODS_REFUSED).reported_by(event.reason) or event.time is None:
            continue
        if state.observed.now - event.time > FRESH or (newest_pod is not None and event.time < newest_pod):
            return None
        said = _PREFIX.sub("", event.note)
        found = judge(said, of_inspection=of_inspection)
        return found or Finding(
            reasons.PODS_REFUSED, f"the API server rejects it: {phrases.tail(said)}", fix="see its message"
        )
    return None


def _resource(said: str) -> str:
    """The field of spec.resources that a message about limits is about; empty if there is none. Memory and storage have
    one field for limit and request."""
    named = re.search(r"(cpu|memory|ephemeral-storage)", said)
    if named is None:
        return ""
    return _CPU_LIMIT if named[1] == "cpu" and _ABOUT_LIMIT.search(said) else _FIELDS[named[1]]
