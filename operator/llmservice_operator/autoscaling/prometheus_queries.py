"""What Prometheus is asked: always the same few queries, however many services there are.

Whose series one is stands in its labels for namespace and pod: NAME-ORDINAL is a pod of the service NAME. Everything is
added up in Prometheus, so an answer has some rows per service, and grows neither with scrape jobs nor with what a pod
tells: buckets are those of the engines alone, and rows keep no label that a pod writes. Gauges and counts of one engine
that two jobs scrape are taken once.

- A service whose engines ended no request in the window has no row in the latencies: it is idle.
- FLOW has rows for every service with a pod whose newest sample is within the window.
- AGES names the pods, where they were scraped, and how old the newest sample of each is, those first that are newest.
  Prometheus goes on answering with the last sample for five minutes.
- STRANGER is one series whose labels name no pod of that form, those without the labels first.
"""

from collections.abc import Mapping

from llmservice_contract.metrics import BUCKETS
from llmservice_operator.autoscaling.latency import Latency

HISTOGRAMS = {
    Latency.TIME_TO_FIRST_TOKEN: "vllm:time_to_first_token_seconds",
    Latency.INTER_TOKEN_LATENCY: "vllm:inter_token_latency_seconds",
    Latency.REQUEST_LATENCY: "vllm:e2e_request_latency_seconds",
}
"""The engines' histograms; the name of a latency is the name of its query."""
_FAMILIES = {
    Latency.TIME_TO_FIRST_TOKEN: "time_to_first_token",
    Latency.INTER_TOKEN_LATENCY: "inter_token_latency",
    Latency.REQUEST_LATENCY: "request_latency",
}

FLOW = "flow"
AGES = "ages"
STRANGER = "stranger"

SERVICE = "llmservice"
"""Label of the answers: the service's name."""
SIGNAL = "signal"
"""Label of FLOW: which number a row is."""
RUNNING, WAITING, FINISHED, GENERATED, PODS = "running", "waiting", "finished", "generated", "pods"
"""Values of SIGNAL: requests computed, requests queued, requests that ended per second, tokens generated per second,
pods with fresh samples."""
INSTANCE = "instance"
"""Label of AGES: where Prometheus has scraped the pod, mostly ADDRESS:PORT."""

MOST_PODS = 5000
"""Rows that AGES has of one namespace at most."""

_RUNNING = "vllm:num_requests_running"
_WAITING = "vllm:num_requests_waiting"
_FINISHED = "vllm:request_success_total"
_GENERATED = "vllm:generation_tokens_total"
_POD_NAME = "(.+)-[0-9]+"


def queries(
    window: int, namespace_label: str = "namespace", pod_label: str = "pod", matchers: str = ""
) -> Mapping[str, str]:
    """PromQL by name: the values of Latency, FLOW, AGES and STRANGER.

    ``window`` is in seconds; ``matchers`` are PromQL's and go into every selector.
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

    def latency(name: str, family: str) -> str:
        buckets = rate(f"{name}_bucket", f'le=~"{_bounds(family)}"')
        busy = f"{buckets} and on ({pod}) ({rate(f'{name}_count')} != 0)"
        return by_service(f"sum by ({pod}, le) ({busy})", "le")

    oldest = f"time() - {window}"

    def fresh(name: str) -> str:
        return f"({select(name)} and timestamp({select(name)}) >= {oldest})"

    flow = (
        signal(RUNNING, once(fresh(_RUNNING))),
        signal(WAITING, once(fresh(_WAITING))),
        signal(FINISHED, once(rate(_FINISHED), "finished_reason")),
        signal(GENERATED, once(rate(_GENERATED))),
        signal(PODS, f"group by ({pod}) ({fresh(_RUNNING)})"),
    )
    unlabelled = (select(_RUNNING, f'{label}=""') for label in (namespace_label, pod_label))
    other = select(_RUNNING, f'{namespace_label}!=""', f'{pod_label}!=""', f'{pod_label}!~"{_POD_NAME}"')
    strangers = (f"0 * {other}", *(f"1 + 0 * {one}" for one in unlabelled))
    named = select(_RUNNING, f'{pod_label}=~"{_POD_NAME}"')
    age = f"time() - max by ({pod}, {INSTANCE}) (timestamp({named}))"
    return {each.value: latency(name, _FAMILIES[each]) for each, name in HISTOGRAMS.items()} | {
        FLOW: by_service(f"({' or '.join(flow)})", SIGNAL),
        AGES: f"bottomk by ({namespace_label}) ({MOST_PODS}, {age})",
        STRANGER: f"topk(1, {' or '.join(strangers)})",
    }


def _bounds(family: str) -> str:
    """The engines' values of ``le`` as a regular expression: ``1`` and ``1.0`` are the same bound."""
    texts = {text for bound in BUCKETS[family] for text in (repr(bound), f"{bound:g}")}
    ordered = sorted(texts, key=lambda text: (float(text), text))
    return "|".join((*(text.replace(".", "[.]") for text in ordered), "[+]Inf"))
