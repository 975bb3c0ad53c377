"""For every CEL rule of the CRD what it just refuses, and the nearest that it accepts."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

from builders.services import ServiceBuilder, a_service


@dataclasses.dataclass(frozen=True)
class Case:
    """``at`` is the place that the rule stands on, ``says`` the beginning of its message."""

    at: str
    says: str
    refused: ServiceBuilder
    accepted: ServiceBuilder

    def __str__(self) -> str:
        return f"{self.at or 'object'}: {self.says}"


def source(text: str) -> ServiceBuilder:
    return a_service().from_source(text)


def revision(text: str, of: str = "hf://org/name") -> ServiceBuilder:
    return a_service().from_source(of, revision=text)


def accelerator(**fields: Any) -> ServiceBuilder:
    return a_service().with_spec(accelerator=fields)


def engine(**fields: Any) -> ServiceBuilder:
    return a_service().with_spec(engine=fields)


def rollout(**fields: Any) -> ServiceBuilder:
    return a_service().with_spec(rollout=fields)


def share(text: str) -> ServiceBuilder:
    return engine(gpuMemoryUtilization=text)


def cache(size: str | int) -> ServiceBuilder:
    return engine(kvCacheMemory=size).on_cpu()


def toleration(**fields: Any) -> ServiceBuilder:
    return a_service().with_spec(scheduling={"tolerations": [fields]})


def node_selector(key: str) -> ServiceBuilder:
    return a_service().with_spec(scheduling={"nodeSelector": {key: "x"}})


def pod(field: str, key: str) -> ServiceBuilder:
    return a_service().with_spec(pod={field: {key: "x"}})


def scaling(targets: Mapping[str, Any], **fields: Any) -> ServiceBuilder:
    return a_service().with_spec(scaling={"maxReplicas": 4, "targets": targets, **fields})


def access(**fields: Any) -> ServiceBuilder:
    return a_service().with_spec(access=fields)


def tier(name: str) -> ServiceBuilder:
    return a_service().with_keys(rateLimits={"tiers": [{"name": name}]})


def draft(model: str, of: str) -> ServiceBuilder:
    return engine(speculative={"method": "draft", "model": model}).from_source(of)


def draft_at(revision: str, model: str = "hf://org/small") -> ServiceBuilder:
    """A service with a draft model at that revision, where the model lies."""
    of = "pvc://models" if model.startswith("pvc") else "hf://org/large"
    return engine(speculative={"method": "draft", "model": model, "revision": revision}).from_source(of)


def whole_prompts(tokens: int, context: int) -> ServiceBuilder:
    """A service that computes each prompt in one step."""
    return engine(chunkedPrefill=False, maxNumBatchedTokens=tokens).with_spec(model={"maxContextLength": context})


def deadline(seconds: int, **shutdown: Any) -> ServiceBuilder:
    return access(caps={"deadlineSeconds": seconds}).with_spec(shutdown=shutdown)


def adapter(source: str, of: str = "pvc://m", name: str = "legal", **more: Any) -> ServiceBuilder:
    """A service with one adapter; one of a hub has a commit."""
    commit = {"revision": "a" * 40} if source.startswith("h") else {}
    return a_service().from_source(of).with_spec(adapters=[{"name": name, "source": source, **commit, **more}])


def field(path: str, value: Any) -> ServiceBuilder:
    """A service with one field set, by its path below spec."""
    fragment = value
    for name in reversed(path.split(".")):
        fragment = {name: fragment}
    return a_service().with_spec(**fragment)


SCHEME = "a source must begin with hf://, pvc://, s3:// or https://"
PVC = "a pvc source must be pvc://CLAIM"
DOTS = "the path of a pvc source must not contain"
HUB = "a hub source must be hf://ORG/NAME"
S3 = "an S3 source must be s3://BUCKET/PATH"
HTTPS = "an https source must be https://HOST/ORG/NAME"
PINNED = "only a hub's repository (hf:// or https://) has a revision"
COMMIT = "an adapter of a hub (hf:// or https://) needs its commit"
SAME_HUB = "an adapter of a hub must be in the same hub"
KEY = {"credentialsRef": {"name": "token"}}
DIGEST = {"digest": "sha256:" + "0" * 64}
REF = {"ref": {"name": "qwen"}}
CATALOGUED = a_service().from_catalogue("qwen")
EITHER = "a model has either a source"
OF_REF = "revision, digest, format, credentialsRef and size are those of the model in ref"
BYTES = "a size in bytes must be from 1Mi to 1Pi"
CPU = "CPU must be from 1m to 1024 cores"
SIZES = ("model.size", "resources.memory", "resources.ephemeralStorage", "resources.sharedMemory", "cache.size")
SHARE = "gpuMemoryUtilization must be above 0 and at most 1"
SHARES = (("0.000", "0.001"), ("1.001", "1.000"), ("9", "1"))
GIB = "the memory of the KV cache must be whole GiB"
CACHES = (("1500Mi", "2048Mi"), ("0Gi", "1Gi"), (4, 4294967296), ("4097Gi", "4Ti"), ("4G", "4Gi"))

CAP = "a limit for the size of a request must be from 1Ki to 1Gi"
CAPPED = ("bodyBytes", "headerBytes", "schemaBytes", "bufferedBytes")
CAPS = (("1023", "1Ki"), (1, 1024), ("1025Mi", "1Gi"))
DRAFT = "engine.speculative.model must be in the same hub"
IN_PLACE = "rollout.strategy InPlace stops a replica before it starts the new one"
DEADLINE = "access.caps.deadlineSeconds must not be above shutdown.drainSeconds"

LATENCIES = ("timeToFirstToken", "interTokenLatency", "requestLatency")
TIME = "a latency must be from 1ms to 600s"
TIMES = (("0.999ms", "1ms"), ("0s", "0.001s"), ("601s", "600s"), ("600000.1ms", "600000ms"))
RISING = "a higher percentile must not be below a lower one"
PERCENTILES = ("p50", "p90", "p95", "p99")

CASES = [
    Case("", "the name of an LLMService must have at most 50", a_service("a" * 51), a_service("a" * 50)),
    Case(
        "",
        "the name of an LLMService with nodesPerReplica above 1 must have at most 48 characters",
        a_service("a" * 49).spread_over(tensor=2, nodes=2),
        a_service("a" * 48).spread_over(tensor=2, nodes=2),
    ),
    Case("", "the name of an LLMService must start with a lower-case", a_service("1a"), a_service("a1")),
    Case("", "the name of an LLMService must start with a lower-case", a_service("a.b"), a_service("a-b")),
    Case("spec.model", EITHER, source("hf://org/name").with_spec(model=REF), a_service().from_catalogue("qwen")),
    Case(
        "spec.model",
        EITHER,
        dataclasses.replace(CATALOGUED, spec={"model": {"servedNames": ["m"]}}),
        source("hf://org/name"),
    ),
    *(
        Case(
            "spec.model", OF_REF, CATALOGUED.with_spec(model=field), CATALOGUED.with_spec(model={"servedNames": ["m"]})
        )
        for field in ({"revision": "v1"}, DIGEST, {"format": "hf"}, KEY, {"size": "1Gi"})
    ),
    Case("spec.model", SCHEME, source("Qwen/Qwen3-8B"), source("hf://Qwen/Qwen3-8B")),
    Case("spec.model", SCHEME, source("HF://org/name"), source("hf://org/name")),
    Case("spec.model", SCHEME, source("gs://bucket/m"), source("s3://bucket/m")),
    Case("spec.model", SCHEME, source("s3://bucket/é"), source("s3://bucket/e")),
    Case("spec.model", SCHEME, source("s3://bucket/my model"), source("s3://bucket/my-model")),
    *(
        Case("spec.adapters[]", says, adapter(wrong), adapter(right))
        for says, wrong, right in (
            (SCHEME, "team/legal", "hf://team/legal"),
            (PVC, "pvc://m//a", "pvc://m/a"),
            (DOTS, "pvc://m/../a", "pvc://m/..a"),
            (HUB, "hf://legal", "hf://team/legal"),
            (HTTPS, "https://host/legal", "https://host/team/legal"),
        )
    ),
    Case("spec.adapters[]", S3, adapter("s3://bucket", of="s3://b01/m"), adapter("s3://bucket/a", of="s3://b01/m")),
    Case("spec.adapters[]", COMMIT, adapter("pvc://m/a", revision="a" * 40), adapter("hf://team/a")),
    Case(
        "spec",
        "an adapter must have another name than the model",
        adapter("pvc://m/a").with_spec(model={"servedNames": ["chat", "legal"]}),
        adapter("pvc://m/a").with_spec(model={"servedNames": ["chat"]}),
    ),
    Case("spec", "an adapter in a pvc:// must be", adapter("pvc://n/a"), adapter("pvc://m/a")),
    Case("spec", "an adapter in a pvc:// must be", adapter("pvc://m01/a", of="s3://m01/b"), adapter("pvc://m/a")),
    Case("spec", "an adapter in s3:// needs", adapter("s3://m01/a"), adapter("s3://m01/a", of="s3://n01/b")),
    Case("spec", SAME_HUB, adapter("hf://a/b", of="https://host/a/b"), adapter("hf://a/b", of="hf://c/d")),
    Case(
        "spec",
        SAME_HUB,
        adapter("https://other/a/b", of="https://host/a/b"),
        adapter("https://host/c/d", of="https://host/a/b"),
    ),
    Case(
        "spec",
        "adapters need nodesPerReplica 1",
        adapter("pvc://m/a").with_spec(parallelism={"tensor": 2, "nodesPerReplica": 2}),
        adapter("pvc://m/a").with_spec(parallelism={"tensor": 2, "nodesPerReplica": 1}),
    ),
    Case("spec.model", PVC, source("pvc://Models/chat"), source("pvc://models/Chat")),
    Case("spec.model", PVC, source("pvc:///chat"), source("pvc://chat")),
    Case("spec.model", PVC, source("pvc://a..b"), source("pvc://a.b")),
    Case("spec.model", PVC, source("pvc://models//chat"), source("pvc://models/chat/")),
    Case("spec.model", PVC, source("pvc://models/a:b"), source("pvc://models/a_b")),
    Case("spec.model", DOTS, source("pvc://models/../secrets"), source("pvc://models/..secrets")),
    Case("spec.model", DOTS, source("pvc://models/a/."), source("pvc://models/a/.b")),
    Case("spec.model", HUB, source("hf://name"), source("hf://org/name")),
    Case("spec.model", HUB, source("hf://org/name/more"), source("hf://org/name-more")),
    Case("spec.model", HUB, source("hf://org/-name"), source("hf://org/na-me")),
    Case("spec.model", S3, source("s3://bucket"), source("s3://bucket/path")),
    Case("spec.model", S3, source("s3://Bucket/path"), source("s3://bucket/Path")),
    Case("spec.model", HTTPS, source("https://host/name"), source("https://host/org/name")),
    Case("spec.model", HTTPS, source("https://host:port/org/name"), source("https://host:8443/org/name")),
    Case("spec.model", HTTPS, source("https://a..b/org/name"), source("https://a.b/org/name")),
    Case("spec.model", HTTPS, source("https://user@host/org/name"), source("https://host.example/org/name")),
    Case("spec.model", "a revision must not contain two dots", revision("v1..v2"), revision("v1.v2")),
    Case("spec.model", PINNED, revision("v1", of="pvc://models"), revision("v1")),
    Case("spec.model", PINNED, revision("v1", of="s3://bucket/path"), revision("v1", of="https://host/org/name")),
    Case(
        "spec.model",
        "the files of a pvc source have no digest",
        source("pvc://models").with_spec(model=DIGEST),
        source("s3://bucket/path").with_spec(model=DIGEST),
    ),
    Case(
        "spec.model",
        "a pvc source needs no credentials",
        source("pvc://models").with_spec(model=KEY),
        source("s3://bucket/path").with_spec(model=KEY),
    ),
    *(Case(f"spec.{path}", BYTES, field(path, "1048575"), field(path, "1Mi")) for path in SIZES),
    *(Case(f"spec.{path}", BYTES, field(path, 16), field(path, 1048576)) for path in SIZES),
    *(Case(f"spec.{path}", BYTES, field(path, "1025Ti"), field(path, "1Pi")) for path in SIZES),
    *(
        Case(f"spec.resources.{name}", CPU, field(f"resources.{name}", wrong), field(f"resources.{name}", right))
        for name in ("cpu", "cpuLimit")
        for wrong, right in (("0m", "1m"), (0, 1), ("1024.001", "1024"))
    ),
    Case(
        "spec.accelerator",
        "accelerator.type cpu has no products",
        accelerator(type="cpu", products=["MI300X"]),
        accelerator(type="amd", products=["MI300X"]),
    ),
    Case(
        "spec.accelerator",
        "accelerator.type cpu requests no extended resource",
        accelerator(type="cpu", resourceName="example.com/gpu"),
        accelerator(resourceName="example.com/gpu"),
    ),
    Case(
        "spec.accelerator",
        "accelerator.type cpu claims no devices",
        accelerator(type="cpu", deviceClassName="gpu.example.com"),
        accelerator(deviceClassName="gpu.example.com"),
    ),
    Case(
        "spec.accelerator",
        "deviceClassName claims devices of a driver, resourceName requests those of a device plugin",
        accelerator(resourceName="example.com/gpu", deviceClassName="gpu.example.com"),
        accelerator(deviceClassName="gpu.example.com", products=["NVIDIA-L4"]),
    ),
    Case(
        "spec.accelerator",
        "deviceSelectors select devices of deviceClassName",
        accelerator(deviceSelectors=["true"]),
        accelerator(deviceSelectors=["true"], deviceClassName="gpu.example.com"),
    ),
    Case(
        "spec.accelerator",
        "resourceName must be a device plugin's resource",
        accelerator(resourceName="kubernetes.io/gpu"),
        accelerator(resourceName="kubernetes.example/gpu"),
    ),
    Case(
        "spec.accelerator",
        "resourceName must be a device plugin's resource",
        accelerator(resourceName="requests.nvidia.com/gpu"),
        accelerator(resourceName="nvidia.com/requests.gpu"),
    ),
    Case(
        "spec.parallelism",
        "tensor x pipeline x data must be at most 16",
        a_service().spread_over(tensor=3, pipeline=6),
        a_service().spread_over(tensor=2, pipeline=8),
    ),
    Case(
        "spec.parallelism",
        "tensor x pipeline x data must be at most 16",
        a_service().spread_over(tensor=12, pipeline=3, nodes=2),
        a_service().spread_over(tensor=16, pipeline=2, nodes=2),
    ),
    Case(
        "spec.parallelism",
        "tensor x pipeline x data must be at most 16",
        a_service().with_spec(parallelism={"tensor": 4, "data": 5}),
        a_service().with_spec(parallelism={"tensor": 4, "data": 4}),
    ),
    Case(
        "spec",
        "parallelism.data must be 1 with parallelism.nodesPerReplica above 1",
        a_service().with_spec(parallelism={"tensor": 2, "nodesPerReplica": 2, "data": 2}),
        a_service().with_spec(parallelism={"tensor": 2, "nodesPerReplica": 2, "data": 1}),
    ),
    Case(
        "spec.parallelism",
        "tensor x pipeline must be divisible by nodesPerReplica",
        a_service().spread_over(tensor=3, nodes=2),
        a_service().spread_over(tensor=3, nodes=3),
    ),
    Case(
        "spec.parallelism",
        "secretRef is for nodesPerReplica above 1",
        a_service().with_spec(parallelism={"tensor": 2, "secretRef": {"name": "group"}}),
        a_service().with_spec(parallelism={"tensor": 2, "nodesPerReplica": 2, "secretRef": {"name": "group"}}),
    ),
    Case(
        "spec",
        "scheduling.groupWithin is for parallelism.nodesPerReplica above 1",
        a_service().with_spec(scheduling={"groupWithin": "example.com/block"}),
        a_service().with_spec(scheduling={"groupWithin": "example.com/block"}).spread_over(tensor=2, nodes=2),
    ),
    *(Case("spec.engine", SHARE, share(wrong), share(right)) for wrong, right in SHARES),
    *(Case("spec.engine.kvCacheMemory", GIB, cache(wrong), cache(right)) for wrong, right in CACHES),
    *(
        Case("spec.engine.kvOffloadMemory", GIB, engine(kvOffloadMemory=wrong), engine(kvOffloadMemory=right))
        for wrong, right in CACHES
    ),
    Case(
        "spec",
        "engine.maxNumBatchedTokens must not be below engine.maxNumSeqs",
        engine(maxNumBatchedTokens=255, maxNumSeqs=256),
        engine(maxNumBatchedTokens=256, maxNumSeqs=256),
    ),
    Case(
        "spec.engine",
        "maxNumSeqs above 2048 needs maxNumBatchedTokens",
        engine(maxNumSeqs=2049),
        engine(maxNumSeqs=2048),
    ),
    *(
        Case(
            "spec.engine",
            "stepTimeoutSeconds must be 0 or at least 30",
            engine(stepTimeoutSeconds=wrong),
            engine(stepTimeoutSeconds=right),
        )
        for wrong, right in ((1, 0), (29, 30))
    ),
    Case(
        "spec.engine",
        "a name in extraArgs has at most 64",
        engine(extraArgs={"a" * 65: "1"}),
        engine(extraArgs={"a" * 64: "1"}),
    ),
    Case(
        "spec",
        "engine.convert must be none with engine.runner generate",
        engine(runner="generate", convert="embed"),
        engine(convert="embed"),
    ),
    Case(
        "spec.engine.chatTemplate",
        "a chatTemplate has either configMapRef or builtin",
        engine(chatTemplate={"builtin": "template_chatml.jinja", "configMapRef": {"name": "a", "key": "b"}}),
        engine(chatTemplate={"configMapRef": {"name": "a", "key": "b"}}),
    ),
    Case(
        "spec.engine.speculative",
        "methods draft, eagle and eagle3 need a model",
        engine(speculative={"method": "eagle3"}),
        engine(speculative={"method": "eagle3", "model": "pvc://models/head"}),
    ),
    Case(
        "spec.engine.speculative",
        "methods draft, eagle and eagle3 need a model",
        engine(speculative={"method": "mtp", "model": "pvc://models/head"}),
        engine(speculative={"method": "mtp"}),
    ),
    Case("spec.engine", "a name in env has at most 64", engine(env={"A" * 65: "1"}), engine(env={"A" * 64: "1"})),
    Case(
        "spec.engine.batchTimeout",
        "batchTimeout must be at most 60s",
        engine(batchTimeout="60001ms"),
        engine(batchTimeout="60s"),
    ),
    Case(
        "spec.engine.speculative",
        "methods draft, eagle and eagle3 need a model",
        engine(speculative={"method": "draft"}),
        engine(speculative={"method": "ngram"}),
    ),
    Case(
        "spec.engine.speculative",
        "methods draft, eagle and eagle3 need a model",
        engine(speculative={"method": "ngram", "model": "pvc://models/small"}),
        engine(speculative={"method": "draft", "model": "pvc://models/small"}),
    ),
    Case(
        "spec.engine.speculative",
        "a draft model of a hub must be hf://ORG/NAME",
        draft("hf://org/small/more", of="hf://org/large"),
        draft("hf://org/small", of="hf://org/large"),
    ),
    Case(
        "spec.engine.speculative",
        "a draft model of a hub must be hf://ORG/NAME",
        draft("https://host/small", of="https://host/org/large"),
        draft("https://host/org/small", of="https://host/org/large"),
    ),
    Case("spec.engine.speculative", "a draft model's revision must not", draft_at("v1..v2"), draft_at("v1.v2")),
    Case(
        "spec.engine.speculative",
        "only a draft model from a hub (hf:// or https://) has a revision",
        draft_at("v1", model="pvc://models/small"),
        draft_at("v1"),
    ),
    Case("spec", DRAFT, draft("pvc://other/small", of="pvc://models"), draft("pvc://models/small", of="pvc://models")),
    Case("spec", DRAFT, draft("pvc://models/small", of="hf://org/large"), draft("hf://a/small", of="hf://org/large")),
    Case(
        "spec",
        DRAFT,
        draft("https://other/org/small", of="https://host/org/large"),
        draft("https://host/a/small", of="https://host/org/large"),
    ),
    Case("spec", DRAFT, draft("hf://org/small", of="s3://bucket/large"), draft("hf://org/small", of="hf://org/large")),
    Case(
        "spec",
        "parallelism.pipeline must be 1 with engine.speculative.method",
        draft("hf://org/small", of="hf://org/large").spread_over(pipeline=2),
        draft("hf://org/small", of="hf://org/large").spread_over(tensor=2, pipeline=1),
    ),
    Case(
        "spec",
        "parallelism.pipeline must be 1 with engine.speculative.method",
        engine(speculative={"method": "ngram"}).spread_over(pipeline=2),
        engine(speculative={"method": "ngram"}).spread_over(tensor=2, pipeline=1),
    ),
    Case(
        "spec",
        "engine.speculative.method is not for accelerator.type cpu",
        engine(speculative={"method": "ngram"}).on_cpu(),
        engine(speculative={"method": "ngram"}),
    ),
    Case(
        "spec",
        "engine.speculative.method is not for accelerator.type cpu",
        draft("hf://org/small", of="hf://org/large").on_cpu(),
        draft("hf://org/small", of="hf://org/large"),
    ),
    Case(
        "spec",
        "engine.maxNumBatchedTokens must not be below model.maxContextLength: without chunked prefill",
        whole_prompts(8191, context=8192),
        whole_prompts(8192, context=8192),
    ),
    *(
        Case(f"spec.access.caps.{name}", CAP, access(caps={name: wrong}), access(caps={name: right}))
        for name in CAPPED
        for wrong, right in CAPS
    ),
    Case(
        "spec.access.caps",
        "defaultMaxTokens must not be above maxTokens",
        access(caps={"defaultMaxTokens": 257, "maxTokens": 256}),
        access(caps={"defaultMaxTokens": 256, "maxTokens": 256}),
    ),
    Case(
        "spec.access.rateLimits.tiers[]",
        "tiers must not contain default or premium",
        tier("default"),
        tier("default-1"),
    ),
    Case(
        "spec.access.rateLimits.tiers[]",
        "tiers must not contain default or premium",
        tier("premium"),
        tier("gold"),
    ),
    Case("spec.access", "rateLimits need apiKeys", access(rateLimits={}), a_service().with_keys(rateLimits={})),
    Case(
        "spec.access",
        "prefixCache PerKey needs apiKeys",
        access(prefixCache="PerKey"),
        a_service().with_keys(prefixCache="PerKey"),
    ),
    Case("spec.access", "fairSharing needs apiKeys", access(fairSharing={}), a_service().with_keys(fairSharing={})),
    Case(
        "spec.rollout",
        IN_PLACE,
        rollout(strategy="InPlace", maxUnavailable=0),
        rollout(strategy="InPlace", maxUnavailable=1),
    ),
    Case(
        "spec.rollout",
        IN_PLACE,
        rollout(strategy="InPlace", maxUnavailable=0),
        rollout(strategy="Auto", maxUnavailable=0),
    ),
    Case(
        "spec.rollout.canary",
        "rollout.canary.weight 0 sends no requests",
        rollout(canary={"weight": 0}),
        rollout(canary={"weight": 0, "header": "x-canary"}),
    ),
    Case(
        "spec.rollout.canary",
        "rollout.canary.deadlineSeconds must not be below",
        rollout(canary={"deadlineSeconds": 299}),
        rollout(canary={"deadlineSeconds": 300}),
    ),
    Case(
        "spec.rollout.canary",
        "rollout.canary.header must not be",
        rollout(canary={"header": "authorization"}),
        rollout(canary={"header": "x-authorization"}),
    ),
    Case("spec", DEADLINE, deadline(601), deadline(600)),
    Case("spec", DEADLINE, deadline(601, lameDuckSeconds=300), deadline(601, drainSeconds=601)),
    Case("spec", DEADLINE, deadline(60, drainSeconds=59), deadline(60, drainSeconds=60)),
    Case(
        "spec.tracing",
        "an https endpoint needs its path",
        field("tracing.endpoint", "https://collector:4317"),
        field("tracing.endpoint", "https://collector:4318/v1/traces"),
    ),
    Case(
        "spec.scheduling.tolerations[]",
        "a toleration without a key needs operator Exists",
        toleration(effect="NoSchedule"),
        toleration(operator="Exists"),
    ),
    Case(
        "spec.scheduling.tolerations[]",
        "operator Exists must have no value",
        toleration(key="team", operator="Exists", value="a"),
        toleration(key="team", value="a"),
    ),
    Case(
        "spec.scheduling.tolerations[]",
        "tolerationSeconds needs effect NoExecute",
        toleration(key="team", effect="NoSchedule", tolerationSeconds=60),
        toleration(key="team", effect="NoExecute", tolerationSeconds=60),
    ),
    Case("spec.scheduling", "a key of nodeSelector must be a node label", node_selector("a b"), node_selector("a_b")),
    Case(
        "spec.scheduling",
        "a key of nodeSelector must be a node label",
        node_selector("a" * 64),
        node_selector("a" * 63),
    ),
    Case(
        "spec.scheduling",
        "a key of nodeSelector must be a node label",
        node_selector("a" * 199 + "/b"),
        node_selector("a" * 198 + "/b"),
    ),
    *(
        Case(
            "spec.resources",
            "a name in devices must be a device plugin's resource",
            a_service().with_spec(resources={"devices": {wrong: 1}}),
            a_service().with_spec(resources={"devices": {right: 1}}),
        )
        for wrong, right in (
            ("hca", "rdma/hca"),
            ("kubernetes.io/hca", "kubernetes.com/hca"),
            ("requests.rdma/hca", "rdma/requests.hca"),
            ("a" * 199 + "/b", "a" * 198 + "/b"),
        )
    ),
    Case(
        "spec.resources",
        "devices are those beside the accelerators",
        a_service().with_spec(resources={"devices": {"nvidia.com/gpu": 1}}),
        a_service().with_spec(resources={"devices": {"nvidia.com/hostdev": 1}}),
    ),
    Case(
        "spec",
        "resources.devices must not have accelerator.resourceName",
        a_service().with_spec(accelerator={"resourceName": "a.b/c"}, resources={"devices": {"a.b/c": 1}}),
        a_service().with_spec(accelerator={"resourceName": "a.b/c"}, resources={"devices": {"a.b/d": 1}}),
    ),
    Case(
        "spec.resources",
        "cpuLimit must not be below cpu",
        a_service().with_spec(resources={"cpu": "2", "cpuLimit": "1999m"}),
        a_service().with_spec(resources={"cpu": "2", "cpuLimit": "2000m"}),
    ),
    *(
        Case("spec.pod", f"a key of {field} must be a name", pod(field, wrong), pod(field, right))
        for field in ("labels", "annotations")
        for wrong, right in (("a b", "a_b"), ("a" * 199 + "/b", "a" * 198 + "/b"), ("a/b/c", "a.b/c"))
    ),
    *(
        Case("spec.pod", f"a key of {field} must not be one that the operator", pod(field, wrong), pod(field, right))
        for field in ("labels", "annotations")
        for wrong, right in (
            ("app.kubernetes.io/name", "app.kubernetes.io/version"),
            ("llmservice.dev/rank", "llmservice.devs/rank"),
            ("kubernetes.io/config.mirror", "cluster-autoscaler.kubernetes.io/safe-to-evict"),
            ("controller-revision-hash", "controller-revision-hash2"),
            ("prometheus.io/port", "prometheus.io/instance"),
        )
    ),
    *(
        Case("spec.pod", says, a_service().with_spec(pod={"image": wrong}), a_service().with_spec(pod={"image": right}))
        for says, wrong, right in (
            ("image must begin with the host", "llm/runtime:1", "llm.example/runtime:1"),
            ("image must begin with the host", "localhost2/runtime:1", "localhost/runtime:1"),
            ("image must end with a tag", "registry.example:5000/llm/runtime", "registry.example:5000/llm/runtime:1"),
            (
                "image must end with a tag",
                "registry.example/llm/runtime",
                "registry.example/llm/runtime@sha256:" + "0" * 64,
            ),
        )
    ),
    *(
        Case(
            f"spec.scaling.targets.{latency}.{percentile}",
            TIME,
            scaling({latency: {percentile: wrong}}),
            scaling({latency: {percentile: right}}),
        )
        for latency in LATENCIES
        for percentile in PERCENTILES
        for wrong, right in TIMES
    ),
    *(
        Case(
            f"spec.scaling.targets.{latency}",
            "a latency with a target needs at least one of",
            scaling({latency: {}}),
            scaling({latency: {"p95": "1s"}}),
        )
        for latency in LATENCIES
    ),
    *(
        Case(
            f"spec.scaling.targets.{latency}",
            RISING,
            scaling({latency: {low: "1.001s", high: "1s"}}),
            scaling({latency: {low: "1s", high: "1000ms"}}),
        )
        for latency in LATENCIES
        for low, high in itertools.combinations(PERCENTILES, 2)
    ),
    Case("spec.scaling.targets", "scaling needs a target", scaling({}), scaling({"requestLatency": {"p99": "2s"}})),
    Case(
        "spec.scaling",
        "minReplicas must not be above maxReplicas",
        scaling({"requestLatency": {"p99": "2s"}}, minReplicas=5),
        scaling({"requestLatency": {"p99": "2s"}}, minReplicas=4),
    ),
    Case(
        "spec",
        "engine.gpuMemoryUtilization is not for accelerator.type cpu",
        engine(gpuMemoryUtilization="0.9").on_cpu(),
        engine(gpuMemoryUtilization="0.9"),
    ),
    Case(
        "spec",
        "engine.kvOffloadMemory is not for accelerator.type cpu",
        engine(kvOffloadMemory="4Gi").on_cpu(),
        engine(kvOffloadMemory="4Gi"),
    ),
    Case(
        "spec",
        "parallelism.expertParallel is not for accelerator.type cpu",
        a_service().with_spec(parallelism={"expertParallel": True}).on_cpu(),
        a_service().with_spec(parallelism={"expertParallel": True}),
    ),
    Case(
        "spec",
        "engine.kvCacheMemory is not for accelerator.type nvidia or amd",
        engine(kvCacheMemory="4Gi"),
        engine(kvCacheMemory="4Gi").on_cpu(),
    ),
    Case(
        "spec",
        "parallelism.pipeline other than 1 is not for accelerator.type cpu",
        a_service().on_cpu().spread_over(pipeline=2),
        a_service().on_cpu().spread_over(tensor=2),
    ),
    Case(
        "spec",
        "engine.attention other than auto is not for accelerator.type cpu",
        engine(attention="triton").on_cpu(),
        engine(attention="auto").on_cpu(),
    ),
    Case(
        "spec",
        "engine.attention flashinfer needs accelerator.type nvidia",
        engine(attention="flashinfer").with_spec(accelerator={"type": "amd"}),
        engine(attention="triton").with_spec(accelerator={"type": "amd"}),
    ),
]
