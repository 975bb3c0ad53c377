"""The PromQL queries: always the same few, independent of the number of services.

The labels for namespace and pod assign a series to a service: NAME-ORDINAL is a pod of the service NAME. Prometheus
computes all sums, so a response has some rows per service, whatever scrape jobs exist and pods export: buckets are only
those of the engines, and rows have no label that a pod writes. Gauges and counters of an engine that two jobs scrape
count once.

- A service whose engines finished no request in the window has no row in the latencies: it is idle, if Prometheus has
  all its histograms.
- FLOW has rows for every service with a pod whose newest sample is within the window. It also has rows for series that
  some of its pods lack although Prometheus has others of the same scrape: without such a row none is absent.
- AGES has the pods, their scrape addresses, and the ages of their newest samples, the most recent first. Prometheus
  returns the last sample for five minutes.
- UNMATCHED has one series of each kind that counts for no service; its label KIND is the reason.
"""

from collections.abc import Iterable, Mapping

from llmservice_contract.metrics import BUCKETS
from llmservice_operator.autoscaling.latency import Latency
from llmservice_operator.autoscaling.signals import ServiceName

HISTOGRAMS = {
    Latency.TIME_TO_FIRST_TOKEN: "vllm:time_to_first_token_seconds",
    Latency.INTER_TOKEN_LATENCY: "vllm:inter_token_latency_seconds",
    Latency.REQUEST_LATENCY: "vllm:e2e_request_latency_seconds",
}
"""The engines' histograms. The name of a latency is the name of its query."""
_FAMILIES = {
    Latency.TIME_TO_FIRST_TOKEN: "time_to_first_token",
    Latency.INTER_TOKEN_LATENCY: "inter_token_latency",
    Latency.REQUEST_LATENCY: "request_latency",
}

BOUNDS: Mapping[Latency, tuple[float, ...]] = {latency: BUCKETS[family] for latency, family in _FAMILIES.items()}
"""Upper bounds of the engines' buckets, without +Inf, in seconds; they rise."""

FLOW = "flow"
AGES = "ages"
UNMATCHED = "unmatched"

SERVICE = "llmservice"
"""Label of the answers: the service's name."""
SIGNAL = "signal"
"""Label of FLOW: which signal a row has."""
RUNNING, WAITING, FINISHED, GENERATED, PODS = "running", "waiting", "finished", "generated", "pods"
"""Values of SIGNAL: requests computed, requests queued, requests that ended per second, tokens generated per second,
pods with fresh samples."""
MEAN_IN_FLIGHT, MEAN_WAITING = "mean in flight", "mean waiting"
"""Values of SIGNAL: requests in flight and requests queued, on average over the window (Little's law: seconds that
ended requests took, per second)."""
NO_WAITING = "no waiting"
"""Value of SIGNAL: pods with a fresh sample of RUNNING and none of WAITING."""
NO_BUCKETS: Mapping[Latency, str] = {latency: f"no buckets {latency.value}" for latency in Latency}
"""Values of SIGNAL: pods with a rate of FINISHED and none of the bucket +Inf of the histogram of this latency."""
NATIVE: Mapping[Latency, str] = {latency: f"native {latency.value}" for latency in Latency}
"""Values of SIGNAL: those of these pods whose histogram is a native one."""
KIND = "llmservice_kind"
"""Label of UNMATCHED: why the series counts for no service."""
UNLABELLED, OTHER, RENAMED = "unlabelled", "other", "renamed"
"""Values of KIND: without the label for the namespace or the pod; of a pod whose name is not NAME-ORDINAL; and with an
underscore instead of the colon in its name, as exporters of OpenTelemetry and recording rules write it."""
INSTANCE = "instance"
"""Label of AGES: the address at which Prometheus scraped the pod, usually ADDRESS:PORT."""

MOST_PODS = 5000
"""Maximum rows of AGES for one namespace."""

RUNNING_METRIC = "vllm:num_requests_running"
WAITING_METRIC = "vllm:num_requests_waiting"
FINISHED_METRIC = "vllm:request_success_total"
RENAMED_METRIC = RUNNING_METRIC.replace(":", "_")
_GENERATED = "vllm:generation_tokens_total"
_QUEUE_TIME = "vllm:request_queue_time_seconds"
_POD_NAME = "(.+)-[0-9]+"


def queries(
    window: int, namespace_label: str = "namespace", pod_label: str = "pod", matchers: str = ""
) -> Mapping[str, str]:
    """PromQL by name: the values of Latency, FLOW, AGES and UNMATCHED.

    ``window`` is in seconds; ``matchers`` are PromQL label matchers for every selector.
    """
    pod = f"{namespace_label}, {pod_label}"

    def select(name: str, *more: str) -> str:
        inner = ", ".join(part for part in (*more, matchers) if part)
        return f"{name}{{{inner}}}"

    def by_service(vector: str, *labels: str) -> str:
        named = f'label_replace({vector}, "{SERVICE}", "$1", "{pod_label}", "{_POD_NAME}")'
        return f"sum by ({', '.join((namespace_label, SERVICE, *labels))}) ({named})"

    def once(vector: str, *labels: str) -> str:
        return f"sum by ({pod}) (max by ({', '.join((pod, 'model_name', 'engine', *labels))}) ({vector}))"

    def signal(name: str, vector: str) -> str:
        return f'label_replace({vector}, "{SIGNAL}", "{name}", "", "")'

    def rate(name: str, *more: str) -> str:
        return f"rate({select(name, *more)}[{window}s])"

    def all_of(name: str) -> str:
        return rate(f"{name}_bucket", 'le="+Inf"')

    def latency(name: str, family: str) -> str:
        buckets = rate(f"{name}_bucket", f'le=~"{_bounds(family)}"')
        busy = f"{buckets} and on ({pod}) ({all_of(name)} != 0)"
        return by_service(f"sum by ({pod}, le) ({busy})", "le")

    oldest = f"time() - {window}"

    def fresh(name: str) -> str:
        return f"({select(name)} and timestamp({select(name)}) >= {oldest})"

    running = f"group by ({pod}) ({fresh(RUNNING_METRIC)})"
    ended = f"group by ({pod}) ({rate(FINISHED_METRIC)})"

    def no_buckets(name: str) -> str:
        return f"{ended} unless on ({pod}) {all_of(name)}"

    def kind(value: str, vector: str) -> str:
        return f'label_replace(0 * max without ({KIND}) ({vector}), "{KIND}", "{value}", "", "")'

    flow = (
        signal(RUNNING, once(fresh(RUNNING_METRIC))),
        signal(WAITING, once(fresh(WAITING_METRIC))),
        signal(FINISHED, once(rate(FINISHED_METRIC), "finished_reason")),
        signal(GENERATED, once(rate(_GENERATED))),
        signal(MEAN_IN_FLIGHT, once(rate(f"{HISTOGRAMS[Latency.REQUEST_LATENCY]}_sum"))),
        signal(MEAN_WAITING, once(rate(f"{_QUEUE_TIME}_sum"))),
        signal(PODS, running),
        signal(NO_WAITING, f"{running} unless on ({pod}) {fresh(WAITING_METRIC)}"),
        *(signal(NO_BUCKETS[each], no_buckets(name)) for each, name in HISTOGRAMS.items()),
        *(
            signal(NATIVE[each], f"({no_buckets(name)}) and on ({pod}) {select(name)}")
            for each, name in HISTOGRAMS.items()
        ),
    )
    unmatched = (
        kind(UNLABELLED, select(RUNNING_METRIC, f'{namespace_label}=""')),
        kind(UNLABELLED, select(RUNNING_METRIC, f'{pod_label}=""')),
        kind(
            OTHER, select(RUNNING_METRIC, f'{namespace_label}!=""', f'{pod_label}!=""', f'{pod_label}!~"{_POD_NAME}"')
        ),
        kind(RENAMED, select(RENAMED_METRIC)),
    )
    named = select(RUNNING_METRIC, f'{pod_label}=~"{_POD_NAME}"')
    age = f"time() - max by ({pod}, {INSTANCE}) (timestamp({named}))"
    return {each.value: latency(name, _FAMILIES[each]) for each, name in HISTOGRAMS.items()} | {
        FLOW: by_service(f"({' or '.join(flow)})", SIGNAL),
        AGES: f"bottomk by ({namespace_label}) ({MOST_PODS}, {age})",
        UNMATCHED: f"topk by ({KIND}) (1, {' or '.join(unmatched)})",
    }


def scrapes(
    services: Iterable[ServiceName], namespace_label: str = "namespace", pod_label: str = "pod", matchers: str = ""
) -> str:
    """PromQL for a few services that have no series: whether Prometheus scrapes their pods. One row per pod: 1 if the
    last scrape was successful, 0 if it failed; none if Prometheus does not scrape it."""
    named = tuple(services)
    namespaces = "|".join(sorted({_literal(namespace) for namespace, _ in named}))
    names = "|".join(sorted({_literal(name) for _, name in named}))
    chosen = (f'{namespace_label}=~"{namespaces}"', f'{pod_label}=~"({names})-[0-9]+"', matchers)
    return f"max by ({namespace_label}, {pod_label}) (up{{{', '.join(filter(None, chosen))}}})"


def _literal(name: str) -> str:
    """A name of Kubernetes as a regular expression."""
    return name.replace(".", "[.]")


def _bounds(family: str) -> str:
    """The engines' values of ``le`` as a regular expression: ``1`` and ``1.0`` are the same bound."""
    texts = {text for bound in BUCKETS[family] for text in (repr(bound), f"{bound:g}")}
    ordered = sorted(texts, key=lambda text: (float(text), text))
    return "|".join((*(text.replace(".", "[.]") for text in ordered), "[+]Inf"))
