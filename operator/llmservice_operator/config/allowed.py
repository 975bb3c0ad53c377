"""Settings that limit what the specs of services may name; see ``resources.platform.Allowed``."""

import re
from typing import Annotated, Any

from pydantic import ConfigDict

from llmservice_contract.engine_settings import DOMAIN, LONGEST_DOMAIN, MOST_DOMAINS
from llmservice_operator.api.base import LABEL_KEY, MAX_KEY_LENGTH
from llmservice_operator.config.section import (
    DNS_LABEL,
    PREFIX,
    TRUTH,
    Problems,
    Rule,
    Section,
    json_object,
    matched,
    several,
)
from llmservice_operator.resources.placements import AllowedPlacement
from llmservice_operator.resources.pod_allowlist import AllowedPod, is_reserved

FIELDS = {
    "tolerations": "tolerations",
    "nodeSelectorKeys": "node_selector_keys",
    "priorityClassNames": "priority_class_names",
    "runtimeClassNames": "runtime_class_names",
    "schedulerNames": "scheduler_names",
}
"""The lists of the JSON object, and the fields that they set."""
MOST_ENTRIES = 100
_NAME = re.compile(r"\*|[A-Za-z0-9][A-Za-z0-9._/-]{0,251}\*?")
_TAINT = re.compile(_NAME.pattern + r"|[A-Za-z0-9][A-Za-z0-9._/-]{0,251}=[A-Za-z0-9._-]{0,63}")


def read_allowed_placement(text: str) -> AllowedPlacement:
    """The lists in ``text``. An absent list has its default, an empty one allows nothing. Raises Problems."""
    given = json_object(text, f"with lists of names: {', '.join(FIELDS)}")
    problems = [problem for name, entries in given.items() if (problem := _problem(name, entries))]
    if problems:
        raise Problems(*problems)
    return AllowedPlacement(**{FIELDS[name]: tuple(entries) for name, entries in given.items()})


def _problem(name: str, entries: Any) -> str:
    if name not in FIELDS:
        return f"{name} is unknown; the lists are {', '.join(FIELDS)}"
    if not isinstance(entries, list) or len(entries) > MOST_ENTRIES:
        return f"{name} must be a list of at most {MOST_ENTRIES} names"
    pattern = _TAINT if name == "tolerations" else _NAME
    wrong = next((each for each in entries if not isinstance(each, str) or not pattern.fullmatch(each)), None)
    if wrong is None:
        return ""
    shape = (
        "the key of a taint, KEY=VALUE or a prefix with * such as"
        if name == "tolerations"
        else "a name or a prefix with * such as"
    )
    return f"{name} has {str(wrong)[:100]!r}, which is not {shape} example.com/*"


POD_FIELDS = {
    "podLabels": "labels",
    "podAnnotations": "annotations",
    "images": "images",
    "imagesByDigestOnly": "images_by_digest_only",
    "imagePullSecrets": "image_pull_secrets",
    "devices": "devices",
}
"""The keys of the JSON object, and the fields that they set."""
_REPOSITORY = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
_SECRET = re.compile(r"\*|[a-z0-9][-a-z0-9.]{0,251}\*?")
_IMAGE = re.compile(
    rf"(?=.{{1,512}}$)(?=[^/]*[.:]|localhost/){_REPOSITORY}/([a-z0-9]+([._-]+[a-z0-9]+)*"
    r"(:[A-Za-z0-9_][-A-Za-z0-9_.]{0,127}|@sha256:[0-9a-f]{64})?)?"
)
_POD_ENTRIES = {
    "podLabels": (_NAME, "a key or a prefix with * such as example.com/*"),
    "podAnnotations": (_NAME, "a key or a prefix with * such as example.com/*"),
    "images": (_IMAGE, "HOST/PATH/ with a slash at its end, or an image such as registry.example.com/llm/runtime"),
    "devices": (_NAME, "an extended resource or a prefix with * such as rdma/*"),
    "imagePullSecrets": (_SECRET, "the name of a Secret or a prefix with * such as team-*"),
}


def read_allowed_pod(text: str) -> AllowedPod:
    """The lists in ``text``. An absent list has its default, an empty one allows nothing. Raises Problems."""
    given = json_object(text, f"with the keys {', '.join(POD_FIELDS)}")
    problems = [problem for name, value in given.items() if (problem := _pod_problem(name, value))]
    if problems:
        raise Problems(*problems)
    fields: dict[str, Any] = {}
    for name, value in given.items():
        fields[POD_FIELDS[name]] = tuple(value) if isinstance(value, list) else value
    return AllowedPod(**fields)


def _pod_problem(name: str, value: Any) -> str:
    if name not in POD_FIELDS:
        return f"{name} is unknown; the keys are {', '.join(POD_FIELDS)}"
    if name not in _POD_ENTRIES:
        return "" if isinstance(value, bool) else f"{name} must be true or false"
    if not isinstance(value, list) or len(value) > MOST_ENTRIES:
        return f"{name} must be a list of at most {MOST_ENTRIES} entries"
    pattern, shape = _POD_ENTRIES[name]
    wrong = next((each for each in value if not isinstance(each, str) or not pattern.fullmatch(each)), None)
    return f"{name} has {str(wrong)[:100]!r}, which is not {shape}" if wrong is not None else ""


MOST_KEYS = 32
"""Maximum number of labels, and of annotations, that the platform adds to pods."""
_KEY = re.compile(LABEL_KEY)
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?")
_ANNOTATION_VALUE = re.compile(r"[^\x00-\x08\x0b-\x1f\x7f]{0,4096}")


def read_pod_labels(text: str) -> dict[str, str]:
    """Labels of all pods. Raises Problems."""
    return _entries(text, "labels", _LABEL_VALUE)


def read_pod_annotations(text: str) -> dict[str, str]:
    """Annotations of all pods. Raises Problems."""
    return _entries(text, "annotations", _ANNOTATION_VALUE)


def _entries(text: str, what: str, pattern: re.Pattern[str]) -> dict[str, str]:
    given = json_object(text, f"with {what}")
    problems = [
        f"{key[:100]!r} is {problem}"
        for key, value in given.items()
        if (problem := _entry_problem(key, value, what, pattern))
    ]
    if len(given) > MOST_KEYS:
        problems.append(f"has {len(given)} {what}, but must have at most {MOST_KEYS}")
    if problems:
        raise Problems(*problems)
    return given


def _entry_problem(key: str, value: Any, what: str, pattern: re.Pattern[str]) -> str:
    if len(key) > MAX_KEY_LENGTH or not _KEY.fullmatch(key):
        return f"not a key of {what}"
    if is_reserved(key):
        return "a key that the operator, Prometheus' scraping or Kubernetes itself uses"
    if not isinstance(value, str) or not pattern.fullmatch(value):
        return f"a key of {what} whose value is not text that Kubernetes accepts there"
    return ""


MOST = 256
"""Maximum number of entries of one list."""
_SERVICE_ACCOUNT = re.compile(rf"{DNS_LABEL.pattern}/[a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?")
_SOURCE = re.compile(r"(?:hf|pvc|s3|https)://(?:[!-+.-~-]+/)?")
_STORE = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?:[1-9][0-9]{0,4}")
_DOMAIN = re.compile(DOMAIN)


def _domain(text: str) -> str:
    if len(text) > LONGEST_DOMAIN:
        raise ValueError(text)
    return matched(_DOMAIN, text)


def _source(text: str) -> str:
    scheme, _, rest = matched(_SOURCE, text).partition("://")
    if scheme == "https":
        host, slash, path = rest.partition("/")
        rest = host.lower() + slash + path
    return f"{scheme}://{rest}"


_ACCOUNTS = several(lambda text: matched(_SERVICE_ACCOUNT, text), "ServiceAccounts as NAMESPACE/NAME", MOST)
_SOURCES = several(_source, "prefixes of sources, each ending with a slash (https://hub.example.com/),", MOST)
_STORES = several(lambda text: matched(_STORE, text.lower()), "addresses as HOST:PORT", MOST)
_DOMAINS = several(_domain, "DNS names in lower case", MOST_DOMAINS)
_ARGUMENTS = several(
    lambda text: matched(re.compile(r"[a-z0-9][a-z0-9-]{0,63}"), text), "arguments of vLLM without dashes", MOST
)
_VARIABLES = several(lambda text: matched(re.compile(r"[A-Z0-9_]{1,64}|none"), text), "names of variables", MOST)


def _or_all(rule: Rule) -> Rule:
    """The list, or `*` alone for no list."""
    return Rule(f"* for all, or {rule.allowed}", lambda text: None if text == "*" else rule.convert(text))


_CLASSES = several(
    lambda text: matched(re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"), text), "names of DeviceClasses", MOST
)
_ALL_CLASSES = _or_all(_CLASSES)
_ALL_ARGUMENTS, _ALL_VARIABLES = _or_all(_ARGUMENTS), _or_all(_VARIABLES)


class AllowedSettings(Section):
    """What the specs of services may name."""

    model_config = ConfigDict(alias_generator=lambda name: f"{PREFIX}ALLOWED_{name.upper()}")

    service_accounts: Annotated[tuple[str, ...], _ACCOUNTS] = ()
    """ServiceAccounts that services may use."""
    sources: Annotated[tuple[str, ...], _SOURCES] = ("hf://", "pvc://", "s3://")
    """Allowed prefixes of model sources."""
    stores: Annotated[tuple[str, ...] | None, Rule(_STORES.allowed, lambda text: _STORES.convert(text) or None)] = None
    """Stores of rate limits that services may use. Absent: all; a login is sent only if its Secret contains
    the address."""
    media_domains: Annotated[tuple[str, ...], _DOMAINS] = ()
    """Domains from which engines may fetch media that requests name."""
    extra_args: Annotated[tuple[str, ...] | None, _ALL_ARGUMENTS] = None
    """Arguments of vLLM that services may set by spec.engine.extraArgs, of those that are allowed at all."""
    extra_args_except: Annotated[tuple[str, ...], _ARGUMENTS] = ()
    """Arguments that services may not set, though they are allowed otherwise."""
    engine_env: Annotated[tuple[str, ...] | None, _ALL_VARIABLES] = None
    """Variables that services may set by spec.engine.env, of those that are allowed at all."""
    engine_env_except: Annotated[tuple[str, ...], _VARIABLES] = ()
    """Variables that services may not set, though they are allowed otherwise."""
    device_classes: Annotated[tuple[str, ...] | None, _ALL_CLASSES] = None
    """DeviceClasses that services may name in spec.accelerator.deviceClassName. Empty: none."""
    device_selectors: Annotated[bool, TRUTH] = False
    """Whether services may set spec.accelerator.deviceSelectors."""
    trace_flags: Annotated[bool, TRUTH] = False
    """Whether a client's traceparent decides if a request's trace is recorded."""
