"""For each bound of the CRD's schema: values just inside and just outside, each in an otherwise valid object.

Patterns can't be inverted, so ``TEXTS`` has for each a way to write a matching text of any length, and texts that
just don't match. A pattern or place that is missing from the tables fails with an error that names it.
"""

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from builders.services import a_service, merged
from support.schema import ITEM, VALUE, Bound, Node, bounds, nodes

CONDITION = {"type": "Ready", "status": "True", "reason": "Ok", "lastTransitionTime": "2026-01-01T00:00:00Z"}
HUB = {"model": {"source": "hf://org/name"}}
SCALING = {"maxReplicas": 1000, "targets": {"requestLatency": {"p99": "600s"}}}
POLICY = {"type": "Pods", "value": 1, "periodSeconds": 1}
KEYS = {"apiKeys": {"secretRef": {"name": "keys"}}}
LIMITED = {**KEYS, "rateLimits": {"tiers": [{"name": "gold"}], "store": {"address": "redis:6379"}}}

MEMORY = {
    **dict.fromkeys(("total", "requested", "weights", "activation", "cudaGraphs", "nonTorch", "kvAvailable"), "1.0Gi"),
    "gpu": "NVIDIA-H100-80GB-HBM3",
    "kvPerToken": 1,
}
NEEDS: Mapping[str, Mapping[str, Any]] = {
    "spec.model.digest": HUB,
    "spec.model.revision": HUB,
    "spec.model.credentialsRef": HUB,
    "spec.adapters": {
        "model": {"source": "pvc://m"},
        "adapters": [{"name": "a", "source": "pvc://m/a"}],
    },
    "spec.adapters[].revision": {
        "model": {"source": "hf://org/name"},
        "adapters": [{"name": "a", "source": "hf://org/lora", "revision": "a" * 40}],
    },
    "spec.engine.maxNumSeqs": {"engine": {"maxNumBatchedTokens": 65536}},
    "spec.engine.kvCacheMemory": {"accelerator": {"type": "cpu"}},
    "spec.rollout.canary.": {
        "rollout": {"canary": {"header": "x-canary", "durationSeconds": 10, "deadlineSeconds": 604_800}}
    },
    "spec.engine.speculative.": {"engine": {"speculative": {"method": "ngram"}}},
    "spec.engine.speculative.revision": {
        "model": {"source": "hf://org/large"},
        "engine": {"speculative": {"method": "draft", "model": "hf://org/small"}},
    },
    "spec.engine.speculative.model": {"model": {"source": "pvc://m"}, "engine": {"speculative": {"method": "draft"}}},
    "spec.engine.speculative.method.eagle": {
        "engine": {"speculative": {"method": "eagle", "model": "pvc://models/head"}}
    },
    "spec.engine.chatTemplate.": {"engine": {"chatTemplate": {"builtin": "template_chatml.jinja"}}},
    "spec.engine.chatTemplate.configMapRef.": {
        "engine": {"chatTemplate": {"configMapRef": {"name": "templates", "key": "a.jinja"}}}
    },
    "spec.engine.speculative.method.draft": {
        "engine": {"speculative": {"method": "draft", "model": "pvc://models/small"}}
    },
    "spec.access.apiKeys.": {"access": KEYS},
    "spec.access.rateLimits.": {"access": LIMITED},
    "spec.access.rateLimits.store.credentialsRef.": {
        "access": {**KEYS, "rateLimits": {"store": {"address": "redis:6379", "credentialsRef": {"name": "login"}}}}
    },
    "spec.access.prefixCache.PerKey": {"access": KEYS},
    "spec.access.fairSharing.": {"access": {**KEYS, "fairSharing": {"tiers": [{"name": "gold"}]}}},
    "spec.access.caps.defaultMaxTokens": {"access": {"caps": {"maxTokens": 16_777_216}}},
    "spec.access.caps.deadlineSeconds": {"shutdown": {"drainSeconds": 86_400}},
    "spec.cache.": {"cache": {"size": "1Gi"}},
    "spec.tracing.": {"tracing": {"endpoint": "http://collector:4317"}},
    "spec.scaling": {"scaling": SCALING},
    "spec.scaling.targets.": {"scaling": SCALING},
    "spec.scaling.targets.timeToFirstToken.": {
        "scaling": {"maxReplicas": 1000, "targets": {"timeToFirstToken": {"p99": "600s"}}}
    },
    "spec.scaling.targets.interTokenLatency.": {
        "scaling": {"maxReplicas": 1000, "targets": {"interTokenLatency": {"p99": "600s"}}}
    },
    "spec.scaling.behavior.scaleUp.policies[].": {
        "scaling": {**SCALING, "behavior": {"scaleUp": {"policies": [POLICY]}}}
    },
    "spec.scaling.behavior.scaleDown.policies[].": {
        "scaling": {**SCALING, "behavior": {"scaleDown": {"policies": [POLICY]}}}
    },
    "spec.scheduling.tolerations[].": {"scheduling": {"tolerations": [{"key": "team"}]}},
    "spec.scheduling.tolerations[].tolerationSeconds": {
        "scheduling": {"tolerations": [{"key": "team", "effect": "NoExecute"}]}
    },
    "spec.accelerator.deviceSelectors": {"accelerator": {"deviceClassName": "gpu.example.com"}},
    "spec.scheduling.groupWithin": {"parallelism": {"tensor": 2, "nodesPerReplica": 2}},
    "spec.parallelism.nodesPerReplica": {"parallelism": {"tensor": 16}},
    "spec.parallelism.secretRef": {"parallelism": {"tensor": 2, "nodesPerReplica": 2}},
    "status.conditions[].": {"conditions": [CONDITION]},
    "status.upgrade.": {"upgrade": {"digest": "0a1b2c3d4e", "version": "0.3.0"}},
    "status.findings[].": {"findings": [{"reason": "Crashed", "certainty": "Certain", "message": "it ended"}]},
    "status.memory.": {"memory": MEMORY},
    "status.scaling.": {"scaling": {"desiredReplicas": 2}},
    "status.placeableReplicas.": {"placeableReplicas": {"replicas": 1, "limitedBy": "Nodes", "message": "room"}},
    "status.replicasWriter.": {
        "replicasWriter": {"manager": "helm", "kind": "LLMService", "time": "2026-01-01T00:00:00Z"}
    },
    "status.canary.": {"canary": {"revision": "chat-7f9", "weight": 5}},
    "status.cost.": {"cost": {"currency": "EUR"}},
    "status.cost.gpus[].": {"cost": {"currency": "EUR", "gpus": [{"count": 1}]}},
    "status.model.": {"model": {"source": "pvc://models/chat"}},
}
"""What places that begin so need beside them to be valid, an enum's value being a step of its own; of several that fit,
the longest counts."""


@dataclasses.dataclass(frozen=True)
class Text:
    """How texts of one pattern look."""

    of_length: Callable[[int], str]
    refused: Sequence[str]
    accepted: Sequence[str] = ()


def filled(letter: str, before: str = "", after: str = "") -> Callable[[int], str]:
    """Writes texts of any length: a letter over and over between two fixed ends."""
    return lambda length: before + letter * (length - len(before) - len(after)) + after


PLAIN: Mapping[str, Callable[[int], str]] = {
    "spec.model.source": filled("a", before="pvc://"),
    "spec.adapters[].source": filled("a", before="pvc://m/"),
}
"""Texts of places without a pattern whose form a rule holds."""
NODE_LABEL = Text(
    lambda length: "a" * length if length < 64 else filled("a", after="/zone")(length),
    refused=["/zone", "a/", "a..b/zone", "A/zone", "a/-b", "b" * 64],
    accepted=["zone", "topology.kubernetes.io/zone", "b" * 63],
)
TEXTS: Mapping[str, Text] = {
    "spec.engine.speculative.revision": Text(
        filled("a"), refused=["-v1", "v 1", "v:1"], accepted=["refs/pr/1", "v1.0_a-b"]
    ),
    "spec.model.revision": Text(filled("a"), refused=["-v1", "v 1", "v:1"], accepted=["refs/pr/1", "v1.0_a-b"]),
    "spec.adapters[].revision": Text(
        lambda length: "a" * max(40, length), refused=["a" * 39, "A" * 40, "main"], accepted=["0" * 40]
    ),
    "spec.model.digest": Text(
        lambda length: "sha256:" + "a" * max(64, length - 7),
        refused=["sha256:" + "A" * 64, "sha256:" + "a" * 63, "a" * 71, "md5:" + "a" * 67],
        accepted=["sha256:" + "0" * 64],
    ),
    "spec.model.servedNames[]": Text(filled("a"), refused=["-a", "a,b", "a b"], accepted=["org/llama-3.1:8b_x"]),
    "spec.model.credentialsRef.name": Text(
        filled("a"), refused=["Token", "-a", "a-", "a..b", "a_b"], accepted=["a-1.b"]
    ),
    "spec.model.size": Text(
        filled("0", after="16.000000000Gi"),
        refused=["-1Gi", "16GB", "16gi", "16Ki Gi", "2Ei", "1e9", "16000m", ".5Gi"],
        accepted=["16000000k", "1.5Gi", "2M", "3T"],
    ),
    "spec.engine.kvCacheMemory": Text(
        filled("0", after="16Gi"),
        refused=["-1Gi", "1.5Gi", "4GB", "4gi", "1e9"],
        accepted=["1048576Ki", "1024Mi", "1Ti", "1073741824k"],
    ),
    "spec.engine.hfOverrides": Text(
        filled("a", before='{"a":"', after='"}'), refused=["[]", '"a"', "a{}", "{}b"], accepted=['\n{"a":\n1}\n']
    ),
    "spec.rollout.canary.header": Text(
        filled("a"), refused=["X-Canary", "1a", "a-", "-a", "a_b"], accepted=["x-canary-1"]
    ),
    "spec.pod.annotations{}": Text(
        filled("a"), refused=["a\x00", "a\x1b[", "a\r", "\x7f"], accepted=["", '{"a":\n\t"é"}']
    ),
    "spec.pod.image": Text(
        filled("a", before="a.b/", after=":1"),
        refused=[
            "a.b:1",
            "a.b//c:1",
            "a.b/C:1",
            "a.b/../c:1",
            "a.b/c:1@sha256:0",
            "a.b/c: 1",
            "-a.b/c:1",
            "https://a.b/c:1",
        ],
        accepted=["a.b:5000/c/d__e-f:V_1.0", "localhost/a@sha256:" + "0" * 64, "a.b/c:1@sha256:" + "a" * 64],
    ),
    "spec.engine.toolCallParser": Text(
        filled("a"), refused=["Hermes", "-a", "a b"], accepted=["granite-20b-fc", "pythonic"]
    ),
    "spec.engine.reasoningParser": Text(filled("a"), refused=["Qwen3", "-a", "a b"], accepted=["deepseek_r1"]),
    "spec.engine.chatTemplate.configMapRef.name": Text(filled("a"), refused=["A", "-a", "a_b"], accepted=["a-1.b"]),
    "spec.engine.chatTemplate.configMapRef.key": Text(
        filled("a"), refused=["a/b", "a b"], accepted=["My_template-1.jinja"]
    ),
    "spec.engine.chatTemplate.builtin": Text(
        lambda length: filled("a", before="template_", after=".jinja")(max(length, len("template_a.jinja"))),
        refused=["chatml", "template_.jinja", "template_a.jinja2", "../template_a.jinja", "template_A.jinja"],
        accepted=["template_chatml.jinja"],
    ),
    "spec.engine.kvOffloadMemory": Text(
        filled("0", after="16Gi"), refused=["-1Gi", "1.5Gi", "4GB", "4gi", "1e9"], accepted=["1048576Ki", "1Ti"]
    ),
    "spec.engine.extraArgs{}": Text(filled("a"), refused=["a\nb", "\t"], accepted=['{"a": [1, "b c"]}', "1 2 4"]),
    "spec.engine.env{}": Text(filled("a"), refused=["a\nb", "\t"], accepted=["^mlx5_0:1,mlx5_1"]),
    "spec.engine.batchTimeout": Text(
        filled("0", after="20ms"),
        refused=["20", "1m", "-1s", "1.5s", "1 s", "100000s"],
        accepted=["0ms", "20ms", "60s"],
    ),
    "spec.engine.speculative.model": Text(
        filled("a", before="pvc://m/"),
        refused=["s3://models/a", "pvc://models", "pvc://models/../a", "pvc://models//a", "hf://org/-a", "org/name"],
        accepted=["pvc://m/a/b_c.d"],
    ),
    "spec.access.caps.bodyBytes": Text(
        filled("0", after="16Mi"),
        refused=["-1Mi", "1.5Mi", "8MB", "8mi", "1e6", "8Ti"],
        accepted=["64Ki", "8M", "1024k"],
    ),
    "spec.access.mediaDomains[]": Text(
        lambda length: "a." * ((length - 1) // 2) + "a" * (2 - length % 2),
        refused=["localhost", "169.254.169.254", "a.0x1", "a.example.", "A.example", "*.example", "a..b", "-a.example"],
        accepted=["images.example.com", "xn--bcher-kva.example", "1.example"],
    ),
    "spec.access.allowedOrigins[]": Text(
        lambda length: "*" if length == 1 else filled("a", before="http://")(length),
        refused=[
            "null",
            "chat.example.com",
            "https://a/",
            "HTTPS://a",
            "https://*.example.com",
            "https://a b",
            "http://a:0",
        ],
        accepted=["*", "https://chat.example.com:8443", "http://[::1]:3000", "vscode-webview://1a", "app://-"],
    ),
    "spec.access.rateLimits.tiers[].name": Text(
        filled("a"), refused=["Gold", "-a", "a-", "a_b", "a.b", "a b"], accepted=["gold", "a-1"]
    ),
    "spec.access.rateLimits.store.budget": Text(
        filled("a"), refused=["A", "-a", "a-", "a_b", "a.b", "a/b", ""], accepted=["team", "a-1"]
    ),
    "spec.access.rateLimits.store.address": Text(
        filled("a", after=":6379"),
        refused=["redis", "redis:", ":6379", "redis:0", "redis:123456", "redis://a:1", "user@redis:6379", "a b:1"],
        accepted=["10.0.0.1:6379", "redis.store.svc.cluster.local:6379"],
    ),
    "spec.tracing.endpoint": Text(
        filled("a", before="http://a/"),
        refused=[
            "collector:4317",
            "grpc://collector:4317",
            "http://",
            "http://a b",
            "http://a:0",
            "http://a/?q",
            "http://u@a",
        ],
        accepted=["http://collector:4317", "https://collector.example/v1/traces", "http://10.0.0.1:4318/v1/traces"],
    ),
    "spec.resources.cpu": Text(
        filled("0", after="4.500"), refused=["-1", "1.5m", "1k", "4 cores", "1.0001"], accepted=["4", "0.5", "500m"]
    ),
    "spec.accelerator.products[]": Text(
        filled("A"), refused=["-A", "A-", "A B", "A/B"], accepted=["NVIDIA-H100-80GB-HBM3"]
    ),
    "spec.accelerator.resourceName": Text(
        filled("a", after="/gpu"),
        refused=["gpu", "nvidia.com/", "nvidia..com/gpu", "NVIDIA.com/gpu", "nvidia.com/-gpu", "a/" + "b" * 64],
        accepted=["nvidia.com/mig-3g.40gb", "a/" + "b" * 63],
    ),
    "spec.engine.gpuMemoryUtilization": Text(
        filled("9", before="0."),
        refused=[".9", "90%", "0.", "10.0", "-0.1", "1e-1"],
        accepted=["1", "1.000", "0.001", "0.92"],
    ),
    "spec.scaling.targets.timeToFirstToken.p50": Text(
        lambda length: filled("0", after="1s")(length) if length < 8 else filled("0", after="1.000ms")(length),
        refused=["200", "1m", "-1s", "1.0001s", "1e3ms", "1 s", ".5s", "1.s"],
        accepted=["200ms", "1.5s", "0.5s", "2s"],
    ),
    "spec.scheduling.spreadOver": NODE_LABEL,
    "spec.scheduling.groupWithin": NODE_LABEL,
    "status.conditions[].reason": Text(filled("A"), refused=["1a", "A,", "A b"], accepted=["A_1,b:c"]),
    "status.model.revision": Text(
        filled("a"), refused=["main", "A" * 40, "g" * 40], accepted=["0123456789abcdef0123456789abcdef01234567"]
    ),
    "status.model.draftRevision": Text(
        filled("a"), refused=["main", "A" * 40, "g" * 40], accepted=["0123456789abcdef0123456789abcdef01234567"]
    ),
    "status.memory.total": Text(
        filled("1", after=".5Gi"), refused=["1Gi", "1.25Gi", "1.5", "x.5Gi"], accepted=["-2.5Gi"]
    ),
    "status.memory.maxConcurrency": Text(filled("1", after=".5"), refused=["-1", "1.", "1x"], accepted=["0", "41.25"]),
    "status.cost.perHour": Text(
        filled("1", after=".50"), refused=["-1", "1,50", "1.", ".5", "1e3", "EUR 2"], accepted=["0", "19.92"]
    ),
}
"""One place for each pattern stands for all places of the same pattern."""


@dataclasses.dataclass(frozen=True)
class Probe:
    """An object with one value at one place, and whether the API server should take it."""

    bound: Bound
    object: dict[str, Any]
    accepted: bool
    what: str

    def __str__(self) -> str:
        return f"{self.bound}, {self.what} is {'accepted' if self.accepted else 'refused'}"

    @property
    def on_status(self) -> bool:
        """Whether the place is in the status, which is written through its own subresource."""
        return self.bound.node.path[:1] == ("status",)


def probes() -> list[Probe]:
    """For every bound there is: one accepted and one refused object at least."""
    return [probe for bound in bounds() for probe in _of(bound)]


def _of(bound: Bound) -> Iterator[Probe]:
    if bound.keyword == "required":
        whole = _object(bound.node, _sample(bound.node) if bound.node.path else None)
        yield Probe(bound, whole, True, "present")
        yield Probe(bound, _without(whole, (*bound.node.path, bound.value)), False, "absent")
        return
    inside, outside = _VALUES[bound.keyword](bound)
    for accepted, values in ((True, inside), (False, outside)):
        for value in values:
            text = repr(value)
            what = text if len(text) <= 40 else f"{text[:30]}... of {len(value)}"
            yield Probe(bound, _object(bound.node, value), accepted, what)


Values = tuple[Sequence[Any], Sequence[Any]]
"""Values that are accepted, and values that are refused."""


def _lengths(bound: Bound, inside: int, outside: int) -> Values:
    if bound.node.schema.get("format") == "date-time":
        write = filled("0", before="2026-01-01T00:00:00.", after="Z")
    else:
        write = _text(bound.node).of_length
    return [write(inside)], [write(outside) if outside else ""]


def _pattern(bound: Bound) -> Values:
    text = _text(bound.node)
    lowest = 1 if bound.node.schema.get("minLength") else 0
    return [*text.accepted, _sample(bound.node)], [each for each in text.refused if len(each) >= lowest]


def _types(bound: Bound) -> Values:
    wrong = {"string": 5, "integer": "five", "boolean": "yes", "array": {}, "object": []}
    return [_sample(bound.node)], [wrong[bound.value]]


def _list_type(bound: Bound) -> Values:
    one, two = _items(bound.node, 2)
    return [[one, two]], [[one, one]]


_VALUES: Mapping[str, Callable[[Bound], Values]] = {
    "pattern": _pattern,
    "minLength": lambda bound: _lengths(bound, bound.value, bound.value - 1),
    "maxLength": lambda bound: _lengths(bound, bound.value, bound.value + 1),
    "minimum": lambda bound: ([bound.value], [bound.value - 1]),
    "maximum": lambda bound: ([bound.value], [bound.value + 1]),
    "minItems": lambda bound: ([_items(bound.node, bound.value)], [_items(bound.node, bound.value - 1)]),
    "maxItems": lambda bound: ([_items(bound.node, bound.value)], [_items(bound.node, bound.value + 1)]),
    "minProperties": lambda bound: ([_entries(bound.node, bound.value)], [_entries(bound.node, bound.value - 1)]),
    "maxProperties": lambda bound: ([_entries(bound.node, bound.value)], [_entries(bound.node, bound.value + 1)]),
    "enum": lambda bound: (bound.value, [f"{bound.value[0]}x", bound.value[0].swapcase(), ""]),
    "format": lambda bound: (["2026-01-01T00:00:00Z"], ["2026-13-01T00:00:00Z", "yesterday"]),
    "anyOf": lambda bound: (["2", 2] if _is_cpu(bound.node) else ["1Gi", 1_073_741_824], [True, 1.5, [], {}]),
    "type": _types,
    "x-kubernetes-list-type": _list_type,
}


def _text(node: Node) -> Text:
    """How texts of this place look; any text where it has no pattern."""
    pattern = node.schema.get("pattern")
    if pattern is None:
        return Text(PLAIN.get(str(node), filled("x")), refused=[])
    if pattern not in _texts():
        raise KeyError(f"{node} has a new pattern: add a Text for it to support.probes.TEXTS: {pattern}")
    return _texts()[pattern]


@functools.cache
def _texts() -> Mapping[str, Text]:
    places = {str(node): node.schema for node in nodes()}
    return {places[place]["pattern"]: text for place, text in TEXTS.items()}


def _sample(node: Node) -> Any:
    """A value that the place takes."""
    schema = node.schema
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("x-kubernetes-int-or-string"):
        return "1" if _is_cpu(node) else "1Gi"
    match schema["type"]:
        case "string" if schema.get("format") == "date-time":
            return CONDITION["lastTransitionTime"]
        case "string":
            return _text(node).of_length(min(schema["maxLength"], 10))
        case "integer":
            return schema["minimum"]
        case "boolean":
            return True
        case "array":
            return _items(node, 1)
        case _ if "additionalProperties" in schema:
            return _entries(node, 1)
        case _:
            needed = _object(node, None)
            found = _get(needed, node.path)
            return (
                found
                if found is not None
                else {name: _sample(_below(node, name)) for name in schema.get("required", ())}
            )


def _is_cpu(node: Node) -> bool:
    """Whether a quantity counts cores; all others count bytes."""
    return node.path[-1] in ("cpu", "cpuLimit")


def _below(node: Node, step: str) -> Node:
    schema = node.schema["items"] if step == ITEM else node.schema["properties"][step]
    return Node((*node.path, step), schema)


_NAMES_OF_ITEMS = {
    "spec.adapters": "name",
    "spec.scheduling.tolerations": "key",
    "spec.access.rateLimits.tiers": "name",
    "spec.access.fairSharing.tiers": "name",
    "status.conditions": "type",
    "status.findings": "reason",
    "status.cost.gpus": "product",
}
"""What items of a list differ by."""


def _items(node: Node, count: int) -> list[Any]:
    """That many different items."""
    sample = _sample(_below(node, ITEM))
    if isinstance(sample, str) and "://" in sample:
        return [f"{sample}{number}" for number in range(count)]
    if isinstance(sample, str):
        return [f"{sample[0]}{number}{'.a' * ('.' in sample)}" for number in range(count)]
    if str(node).endswith(".policies"):
        return [{**sample, "value": number + 1} for number in range(count)]
    name = _NAMES_OF_ITEMS[str(node)]
    return [{**sample, name: f"a{number}"} for number in range(count)]


KEYS_OF_MAPS = {"devices": "example.com/key"}
"""Keys of maps whose rules ask for more than a word."""


def _key_of(map_name: str) -> str:
    return KEYS_OF_MAPS.get(map_name, "key")


def _entries(node: Node, count: int) -> dict[str, Any]:
    """A map of that many entries."""
    value = 1 if node.schema["additionalProperties"].get("type") == "integer" else "a"
    return {f"{_key_of(node.path[-1])}{number}": value for number in range(count)}


def _object(node: Node, value: Any) -> dict[str, Any]:
    """A valid object with this value at the place; with what the place needs, and nothing set, for None."""
    place = f"{node}.{value if 'enum' in node.schema else ''}"
    needs = max((each for each in NEEDS if place.startswith(each)), key=len, default=None)
    part = node.path[0] if node.path else "spec"
    base: dict[str, Any] = a_service().build()
    if place.startswith("spec.model.ref"):
        base = a_service().from_catalogue("qwen").build()
    if part == "status":
        base = {"status": {}}
    if needs is not None:
        base[part] = merged(base[part], NEEDS[needs])
    if value is not None:
        _put(base, node.path, value)
    return base


def _put(whole: dict[str, Any], path: Sequence[str], value: Any) -> None:
    here: Any = whole
    for before, step, following in zip(["", *path], path, [*path[1:], None], strict=False):
        key: Any = {ITEM: 0, VALUE: _key_of(before)}.get(step, step)
        below: Any = value
        if following is not None:
            below = [] if following == ITEM else {}
        if isinstance(here, list) and not here:
            here.append(below)
        elif following is None:
            here[key] = value
        elif isinstance(here, dict):
            here.setdefault(key, below)
        here = here[key]


def _get(whole: Any, path: Sequence[str]) -> Any:
    for before, step in zip(["", *path], path, strict=False):
        if isinstance(whole, list):
            whole = whole[0] if whole else None
        else:
            whole = (whole or {}).get({VALUE: _key_of(before)}.get(step, step))
    return whole


def _without(whole: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """A copy with the field at the path taken out."""
    result = copy.deepcopy(whole)
    del _get(result, path[:-1])[path[-1]]
    return result
