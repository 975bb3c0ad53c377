"""What a service's author may say to vLLM beyond the fields: every argument of the pinned `vllm serve` has a ruling.

An argument is set by a field, by the runtime itself, by ``spec.engine.extraArgs``, or not at all, for a stated reason.
One that a row of ``engine_settings`` passes is its field's, whatever the tables here say. ``vllm_arguments.json`` has
the arguments, printed from vLLM's own parser (hack/generators/vllm_arguments.py). One without a ruling is refused, and
a test fails until it has one. ``spec.engine.env`` has a list of variables in the same way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from importlib import resources
from types import MappingProxyType
from typing import Any

from llmservice_contract.engine_settings import EXTRA_ARGS, SETTINGS
from llmservice_contract.foreign import read_json
from llmservice_contract.setting import Target

MOST, LONGEST_NAME, LONGEST_VALUE = EXTRA_ARGS.most, EXTRA_ARGS.longest_name, EXTRA_ARGS.longest
"""Arguments, and variables, of one service; characters."""
LONGEST_TEXT = 256
"""Of one text in a JSON value."""
_DEEPEST = 8
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._,:+-]*")
"""A text that is neither a path nor an argument."""
_NUMBER = {
    "whole": (re.compile(r"-?[0-9]{1,15}"), "a whole number"),
    "decimal": (re.compile(r"-?[0-9]{0,9}\.?[0-9]{1,15}"), "a decimal number"),
}
_NAMES_CODE_OR_FILES = re.compile(
    r"trust|remote_code|auto_map|speculators"
    r"|(^|_)(cls|class|module|plugin|path|file|dir|repo|repo_id|model_id|qualname|command)s?$"
)
"""In a key of a JSON value."""
_OF_TOKENS = ("reasoning-config",)
"""Arguments in whose JSON a text may hold a slash, because it is only compared with tokens."""


class Handling(Enum):
    """Who sets an argument."""

    FIELD = "field"
    RUNTIME = "the runtime"
    EXTRA = "extraArgs"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Ruling:
    """Who sets an argument, with the path of the field, or with the reason as the rest of a sentence."""

    handling: Handling
    why: str = ""


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of `vllm serve`, as its parser has it."""

    name: str
    """Without the two dashes."""
    group: str
    kind: str
    """switch, flag, whole, decimal, json or text."""
    several: bool = False
    """Whether it takes several values."""
    choices: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    """Other names of it."""

    @property
    def is_of_server(self) -> bool:
        """Whether only the node with the HTTP server needs it."""
        return self.group == "Frontend"

    @property
    def allowed(self) -> str:
        """What its value may be, as the end of a sentence."""
        words = _WORDS.get(self.name, self.choices)
        if self.kind in ("switch", "flag"):
            return "true or false" if self.kind == "switch" else "true"
        if words:
            return ("any of " if self.several else "one of ") + ", ".join(words)
        if self.kind == "json":
            texts = "" if self.name in _OF_TOKENS else ", and whose texts hold no /"
            return f"a JSON object or list whose keys name no files and no code{texts}"
        one = _NUMBER[self.kind][1] if self.kind in _NUMBER else "letters, digits and . _ , : + -"
        return f"values separated by spaces, each of them {one}" if self.several else one

    def takes(self, value: str) -> bool:
        """Whether `value` is allowed."""
        if not 0 < len(value) <= LONGEST_VALUE or not value.isprintable():
            return False
        if self.kind in ("switch", "flag"):
            return value == "true" or (value == "false" and self.kind == "switch")
        if self.kind == "json":
            return _is_plain_json(value, slashes=self.name in _OF_TOKENS)
        parts = value.split(" ") if self.several else [value]
        return all(self._takes_one(part) for part in parts)

    def _takes_one(self, part: str) -> bool:
        words = _WORDS.get(self.name, self.choices)
        if words:
            return part in words
        pattern = _NUMBER[self.kind][0] if self.kind in _NUMBER else _WORD
        return pattern.fullmatch(part) is not None

    def arguments(self, value: str) -> tuple[str, ...]:
        """The arguments of `vllm serve` for a `value` that it takes."""
        if self.kind in ("switch", "flag"):
            return (f"--{self.name}" if value == "true" else f"--no-{self.name}",)
        return (f"--{self.name}", *(value.split(" ") if self.several else (value,)))


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an entry of extraArgs or env is not accepted: sentences without a full stop at their end."""

    message: str
    fix: str
    field: str = ""
    """The field that sets it; empty if none does."""


def _split(names: str) -> frozenset[str]:
    return frozenset(names.split())


def _table(*groups: tuple[str, str]) -> dict[str, str]:
    """Each name of the second texts with the first text."""
    return {name: why for why, names in groups for name in names.split()}


_OF_ROWS = {
    flag.removeprefix("--"): row.field
    for row in SETTINGS
    if row.field and row.passing.target in (Target.ENGINE, Target.SERVER)
    for flag in row.passing.names
}
_FIELDS = _table(
    ("spec.model.source", "model"),
    ("spec.model.format", "config-format tokenizer-mode"),
    ("spec.model.credentialsRef", "hf-token"),
    ("spec.quantization.method", "quantization"),
    ("spec.parallelism.nodesPerReplica", "nnodes"),
    ("spec.engine.speculative", "speculative-config spec-method spec-model spec-tokens"),
    ("spec.engine.loadFormat", "load-format"),
    ("spec.engine.toolCallParser", "tool-call-parser enable-auto-tool-choice"),
    ("spec.engine.reasoningParser", "reasoning-parser"),
    ("spec.engine.multimodalLimits", "limit-mm-per-prompt"),
    ("spec.engine.structuredOutputsBackend", "structured-outputs-config"),
    ("spec.engine.kvOffloadMemory", "kv-offloading-size kv-offloading-backend"),
    ("spec.access.allowedOrigins", "allowed-origins allowed-methods allowed-headers allow-credentials"),
    ("spec.access.apiKeys", "api-key"),
    ("spec.access.mediaDomains", "allowed-media-domains"),
    ("spec.access.caps.logprobs", "max-logprobs"),
    ("spec.shutdown.drainSeconds", "shutdown-timeout"),
)
"""Argument to the field that sets it in another way than by its row."""

_RUNTIME = _table(
    ("the port is the same for all services", "host port uds"),
    ("one API server with the gateway runs in each replica", "middleware api-server-count headless root-path"),
    ("the ranks of a replica are set by the operator", "node-rank master-addr master-port"),
    ("the executor follows from spec.parallelism", "distributed-executor-backend"),
    ("the gateway names requests and writes the access log", "enable-request-id-headers disable-uvicorn-access-log"),
    ("the gateway limits request heads", "h11-max-incomplete-event-size h11-max-header-count"),
    ("the pages with the API's description are off", "disable-fastapi-docs enable-offline-docs"),
    ("scaling reads the buckets", "custom-histogram-buckets"),
    ("scaling reads the metrics", "disable-log-stats"),
)
"""Argument to the reason why the runtime sets it."""

_CODE = "it loads code"
_FILES = "it names files of the container"
_LOGS = "prompts, answers or keys would be written to the log"
_OTHER_MODEL = "it would load from another place than spec.model.source"
_ROUTES = "it changes routes that the gateway does not open"
_ENGINES = "the operator counts the engines of a replica; set spec.parallelism.data or spec.replicas instead"
_ADAPTERS = "spec.adapters lists LoRA adapters, and spec.engine.maxLoras and maxLoraRank set their memory"
_REQUESTS = "each client could send what only the service's author should say"
_TRANSFER = "it opens ports to other engines or loads connectors as code"
_DEVICES = "it changes how many devices a replica needs, or which"

_REFUSED = _table(
    (
        _CODE,
        "trust-remote-code code-revision logits-processors io-processor-plugin model-class-overrides worker-cls "
        "worker-extension-cls scheduler-cls tool-parser-plugin reasoning-parser-plugin compilation-config "
        "additional-config kernel-config ir-op-priority",
    ),
    (
        _FILES,
        "config allowed-local-media-path download-dir mm-encoder-fp8-scale-path mm-encoder-fp8-scale-save-path "
        "model-loader-extra-config profiler-config pt-load-map-location engram-config",
    ),
    (_LOGS, "enable-log-requests enable-log-outputs enable-log-deltas max-log-len uvicorn-log-level log-level"),
    (_LOGS, "logging-config log-config-file disable-access-log-for-endpoints"),
    (_OTHER_MODEL, "tokenizer hf-config-path ignore-patterns"),
    (
        _ROUTES,
        "grpc grpc-port tokens-only enable-scale-out enable-tokenizer-info-endpoint enable-sleep-mode "
        "sleep-mode-offload-cudagraph sleep-preserve-parameter-names enable-cumem-allocator weight-transfer-config "
        "enable-nccl-comm-suspend enable-trace-replay",
    ),
    ("TLS ends at the Gateway or ingress", "ssl-keyfile ssl-certfile ssl-ca-certs enable-ssl-refresh ssl-cert-reqs"),
    ("TLS ends at the Gateway or ingress", "ssl-ciphers"),
    ("vLLM would connect to other servers for each request", "tool-server"),
    (_REQUESTS, "trust-request-chat-template trust-request-mm-kwargs enable-prompt-embeds enable-mm-embeds"),
    ("each client could put its requests before those of others", "scheduling-policy"),
    ("the gateway's count of tokens was not tried with it", "sse-keep-alive-interval stream-interval"),
    (_TRANSFER, "kv-transfer-config kv-events-config ec-transfer-config ec-manager-config"),
    (
        _ENGINES,
        "data-parallel-rank data-parallel-start-rank data-parallel-size-local "
        "data-parallel-address data-parallel-rpc-port data-parallel-backend data-parallel-hybrid-lb "
        "data-parallel-external-lb data-parallel-multi-port-external-lb data-parallel-supervisor-port "
        "dp-supervisor-probe-interval-s dp-supervisor-probe-timeout-s dp-supervisor-probe-failure-threshold "
        "enable-elastic-ep elastic-ep-max-dp-size enable-fault-tolerance fault-tolerance-config dp-sync-interval "
        "disable-nccl-for-dp-synchronization",
    ),
    (_DEVICES, "prefill-context-parallel-size device-ids"),
    ("Ray is not used", "ray-workers-use-nsight"),
    (
        _ADAPTERS,
        "lora-modules enable-lora max-loras max-lora-rank lora-dtype enable-tower-connector-lora max-cpu-loras "
        "fully-sharded-loras lora-target-modules default-mm-loras specialize-active-lora "
        "enable-mixed-moe-lora-format enable-moe-shared-loras max-lora-cls-labels",
    ),
    ("no request would be answered with text", "skip-tokenizer-init mm-encoder-only"),
    ("it makes a profile for NVIDIA's tools, which the image does not have", "enable-layerwise-nvtx-tracing"),
)
"""Arguments that can not be set, with the reason."""

_EXTRA = _split("""
    aggregate-engine-logging fail-on-environ-validation gdn-prefill-backend kda-prefill-backend kda-decode-backend
    chat-template-content-format default-chat-template-kwargs response-role return-tokens-as-token-ids
    exclude-tools-when-tool-choice-none tool-strict-level enable-prompt-tokens-details enable-per-request-metrics
    enable-server-load-tracking enable-force-include-usage cohere-is-reasoning-model cohere-format
    anthropic-disabled-thinking-effort log-error-stack fingerprint-mode fingerprint-value
    enable-flash-late-interaction quantization-config
    allow-deprecated-quantization enforce-eager enable-return-routed-experts return-sampling-mask logprobs-mode
    use-fp64-gumbel disable-sliding-window disable-cascade-attn pooler-config generation-config
    override-generation-config model-impl renderer-num-workers safetensors-load-strategy
    safetensors-prefetch-num-threads safetensors-prefetch-block-size use-tqdm-on-load mamba-backend mamba-ssu-algorithm
    enable-mamba-cache-stochastic-rounding mamba-cache-philox-rounds distributed-timeout-seconds
    cpu-distributed-timeout-seconds numa-bind numa-bind-nodes numa-bind-cpus decode-context-parallel-size
    dcp-comm-backend dcp-q-replicate dcp-kv-cache-interleave-size cp-kv-cache-interleave-size enable-hc-sp
    enable-batch-sharded-sampling enable-ep-weight-filter all2all-backend enable-dbo enable-shm-tensor-arena ubatch-size
    dbo-decode-token-threshold dbo-prefill-token-threshold enable-eplb eplb-config expert-placement-strategy
    max-parallel-loading-workers disable-custom-all-reduce block-size kv-cache-memory-bytes num-gpu-blocks-override
    prefix-caching-hash-algo prefix-cache-retention-interval kv-cache-dtype-skip-layers kv-sharing-fast-prefill
    swa-bounded-replay mamba-cache-dtype mamba-ssm-cache-dtype mamba-block-size prefix-match-unit mamba-cache-mode
    enable-mamba-shared-prefix-checkpoint replayssm-buffer-len use-replayssm offload-backend cpu-offload-gb
    cpu-offload-params offload-group-size offload-num-in-group offload-prefetch-step offload-params language-model-only
    media-io-kwargs mm-processor-kwargs mm-processor-cache-gb mm-processor-cache-type mm-hasher-algorithm
    mm-shm-cache-max-object-size-mb mm-encoder-tp-mode mm-encoder-attn-backend mm-encoder-attn-dtype
    mm-encoder-fp8-scale-save-margin interleave-mm-strings skip-mm-profiling video-pruning-rate video-pruning-method
    mm-tensor-ipc mm-processor-device mm-ipc-gpu-memory-gb mm-device-do-normalize show-hidden-metrics-for-version
    collect-detailed-traces per-request-spec-decode-metrics kv-cache-metrics kv-cache-metrics-sample cudagraph-metrics
    enable-mfu-metrics enable-logging-iteration-details jit-monitor-mode jit-monitor-verbose max-num-scheduled-tokens
    max-num-active-seqs max-num-queued-reqs max-num-queued-tokens long-prefill-token-threshold
    long-prefill-token-threshold-adaptive disable-chunked-mm-input scheduler-reserve-full-isl watermark
    prefill-schedule-interval disable-hybrid-kv-cache-manager async-scheduling cudagraph-capture-sizes
    max-cudagraph-capture-size enable-flashinfer-autotune moe-backend linear-backend sparse-indexer-topk-backend
    watermark-config diffusion-config attention-config reasoning-config aux-output-config optimization-level
    performance-mode
""")
"""Arguments that ``spec.engine.extraArgs`` may have."""

_WORDS: Mapping[str, tuple[str, ...]] = {
    "generation-config": ("auto", "vllm"),
    "model-impl": ("auto", "vllm", "transformers"),
    "optimization-level": ("0", "1", "2", "3"),
}
"""Of arguments whose parser takes any text."""

CHANGE_MEMORY = _split("""
    kv-cache-memory-bytes num-gpu-blocks-override cpu-offload-gb cpu-offload-params offload-backend offload-group-size
    offload-num-in-group offload-params quantization-config language-model-only skip-mm-profiling
    decode-context-parallel-size kv-cache-dtype-skip-layers mamba-cache-dtype mamba-ssm-cache-dtype
    disable-hybrid-kv-cache-manager disable-sliding-window kv-sharing-fast-prefill mm-ipc-gpu-memory-gb
""")
"""Those of them by which an engine needs more or less GPU memory than without."""

VARIABLES = _split("""
    FI_EFA_FORK_SAFE FI_EFA_USE_DEVICE_RDMA FI_EFA_USE_HUGE_PAGE FI_PROVIDER
    NCCL_ALGO NCCL_BUFFSIZE NCCL_CROSS_NIC NCCL_CUMEM_ENABLE NCCL_DEBUG NCCL_DEBUG_SUBSYS NCCL_DMABUF_ENABLE
    NCCL_IB_ADAPTIVE_ROUTING NCCL_IB_ADDR_FAMILY NCCL_IB_DISABLE NCCL_IB_ECE_ENABLE NCCL_IB_GID_INDEX NCCL_IB_HCA
    NCCL_IB_MERGE_NICS NCCL_IB_PCI_RELAXED_ORDERING NCCL_IB_QPS_PER_CONNECTION NCCL_IB_RETRY_CNT
    NCCL_IB_ROCE_VERSION_NUM NCCL_IB_SL NCCL_IB_SPLIT_DATA_ON_QPS NCCL_IB_TC NCCL_IB_TIMEOUT NCCL_IGNORE_CPU_AFFINITY
    NCCL_MAX_CTAS NCCL_MAX_NCHANNELS NCCL_MIN_CTAS NCCL_MIN_NCHANNELS NCCL_MNNVL_ENABLE NCCL_NCHANNELS_PER_NET_PEER
    NCCL_NET NCCL_NET_GDR_LEVEL NCCL_NET_GDR_READ NCCL_NSOCKS_PERTHREAD NCCL_NVLS_ENABLE NCCL_P2P_DISABLE
    NCCL_P2P_LEVEL NCCL_PROTO NCCL_PXN_DISABLE NCCL_SHM_DISABLE NCCL_SOCKET_FAMILY NCCL_SOCKET_IFNAME
    NCCL_SOCKET_NTHREADS NCCL_TIMEOUT GLOO_SOCKET_IFNAME
    TORCH_NCCL_BLOCKING_WAIT TORCH_NCCL_ASYNC_ERROR_HANDLING CUDA_DEVICE_MAX_CONNECTIONS CUDA_LAUNCH_BLOCKING
    PYTORCH_CUDA_ALLOC_CONF PYTORCH_ALLOC_CONF TOKENIZERS_PARALLELISM HSA_NO_SCRATCH_RECLAIM RCCL_MSCCL_ENABLE
    RCCL_MSCCLPP_ENABLE VLLM_ALLOW_LONG_MAX_MODEL_LEN VLLM_ALLREDUCE_USE_FLASHINFER VLLM_ALLREDUCE_USE_SYMM_MEM
    VLLM_AUDIO_FETCH_TIMEOUT VLLM_BATCH_INVARIANT VLLM_BLOCKSCALE_FP8_GEMM_FLASHINFER VLLM_CPU_ATTN_SPLIT_KV
    VLLM_CPU_NUM_OF_RESERVED_CPU VLLM_DBO_COMM_SMS VLLM_DEEP_GEMM_WARMUP VLLM_DEEPEP_BUFFER_SIZE_MB
    VLLM_DISABLE_COMPILE_CACHE VLLM_DISABLE_PYNCCL VLLM_DISABLE_SHARED_EXPERTS_STREAM VLLM_ENABLE_CUDAGRAPH_GC
    VLLM_ENABLE_FLA_PACKED_RECURRENT_DECODE VLLM_ENABLE_INDUCTOR_COORDINATE_DESCENT_TUNING
    VLLM_ENABLE_INDUCTOR_MAX_AUTOTUNE VLLM_ENABLE_STARTUP_PLAN VLLM_ENFORCE_STRICT_TOOL_CALLING
    VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS VLLM_FLASHINFER_ALLREDUCE_BACKEND VLLM_FLASHINFER_WORKSPACE_BUFFER_SIZE
    VLLM_FLOAT32_MATMUL_PRECISION VLLM_GDN_DECODE_KERNEL VLLM_IMAGE_FETCH_TIMEOUT VLLM_KV_CACHE_LAYOUT
    VLLM_LOG_STATS_INTERVAL VLLM_MARLIN_USE_ATOMIC_ADD VLLM_MAX_TOKENS_PER_EXPERT_FP4_MOE
    VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS VLLM_MLA_DISABLE VLLM_MOE_USE_DEEP_GEMM
    VLLM_MXFP4_EMULATION_DEQUANT_AT_LOAD VLLM_MXFP8_EMULATION_DEQUANT_AT_LOAD VLLM_ROCM_FP8_MFMA_PAGE_ATTN
    VLLM_ROCM_FP8_PADDING VLLM_ROCM_MOE_PADDING VLLM_ROCM_QUICK_REDUCE_QUANTIZATION VLLM_ROCM_SHUFFLE_KV_CACHE_LAYOUT
    VLLM_ROCM_USE_AITER VLLM_ROCM_USE_AITER_FP8BMM VLLM_ROCM_USE_AITER_LINEAR VLLM_ROCM_USE_AITER_MHA
    VLLM_ROCM_USE_AITER_MLA VLLM_ROCM_USE_AITER_MOE VLLM_ROCM_USE_AITER_RMSNORM VLLM_ROCM_USE_AITER_UNIFIED_ATTENTION
    VLLM_ROCM_USE_SKINNY_GEMM VLLM_SKIP_P2P_CHECK VLLM_SSM_CONV_STATE_LAYOUT VLLM_USE_AOT_COMPILE
    VLLM_USE_BREAKABLE_CUDAGRAPH VLLM_USE_DEEP_GEMM VLLM_USE_DEEP_GEMM_E8M0 VLLM_USE_FASTOKENS
    VLLM_USE_FLASHINFER_MOE_INT4 VLLM_USE_FLASHINFER_SAMPLER VLLM_USE_FUSED_MOE_GROUPED_TOPK VLLM_USE_NCCL_SYMM_MEM
    VLLM_USE_STANDALONE_COMPILE VLLM_USE_TRITON_AWQ VLLM_USE_V2_MODEL_RUNNER VLLM_VIDEO_FETCH_TIMEOUT
    VLLM_WEIGHT_OFFLOADING_DISABLE_PIN_MEMORY VLLM_WEIGHT_OFFLOADING_DISABLE_UVA VLLM_XGRAMMAR_CACHE_MB
""")
"""Variables that ``spec.engine.env`` may have: none of them names a file, an address, code or a log of requests."""
VARIABLE_VALUE = r"[A-Za-z0-9_^=][A-Za-z0-9._,:;=^+-]*"
_VARIABLE_VALUE = re.compile(VARIABLE_VALUE)

_DATA: Mapping[str, Any] = json.loads(resources.files(__package__).joinpath("vllm_arguments.json").read_text())
VLLM_VERSION: str = _DATA["version"]
ARGUMENTS: Mapping[str, Argument] = MappingProxyType(
    {
        name: Argument(
            name,
            row["group"],
            row["kind"],
            row.get("several", False),
            tuple(row.get("choices", ())),
            tuple(row.get("also", ())),
        )
        for name, row in _DATA["arguments"].items()
    }
)
"""Every argument of the pinned `vllm serve`, by its name."""
TOOL_CALL_PARSERS: tuple[str, ...] = tuple(_DATA["toolCallParsers"])
REASONING_PARSERS: tuple[str, ...] = tuple(_DATA["reasoningParsers"])
NO_PARSER = "none"
"""In place of a parser's name: none."""
CHAT_TEMPLATES: tuple[str, ...] = tuple(_DATA["chatTemplates"])
"""Files of the templates that vLLM brings along."""
VLLM_VARIABLES = frozenset(_DATA["variables"])

_BY_OTHER_NAME = {other: each.name for each in ARGUMENTS.values() for other in each.also}


def ruling(name: str) -> Ruling | None:
    """That of the argument; None for one that has none yet."""
    if name in _OF_ROWS:
        return Ruling(Handling.FIELD, _OF_ROWS[name])
    for table, handling in ((_FIELDS, Handling.FIELD), (_RUNTIME, Handling.RUNTIME), (_REFUSED, Handling.REFUSED)):
        if name in table:
            return Ruling(handling, table[name])
    return Ruling(Handling.EXTRA) if name in _EXTRA else None


def ruled() -> Iterator[str]:
    """Each name that has a ruling, as often as it has one."""
    yield from _OF_ROWS
    for table in (_FIELDS, _RUNTIME, _REFUSED, _EXTRA):
        yield from (name for name in table if name not in _OF_ROWS)


def check_argument(name: str, value: str) -> Refusal | None:
    """Why ``spec.engine.extraArgs`` may not have the entry; None if it may."""
    argument = ARGUMENTS.get(name)
    if argument is None:
        return Refusal(f"vLLM {VLLM_VERSION} has no argument {_quoted(name)}", *_nearest(name))
    found = ruling(name)
    match found:
        case Ruling(Handling.FIELD, field):
            return Refusal(f"{name} is set by {field}", f"remove it and set {field}", field)
        case Ruling(Handling.RUNTIME, why):
            return Refusal(f"{name} is set by the runtime: {why}", "remove it")
        case Ruling(Handling.REFUSED, why):
            return Refusal(f"{name} is not allowed: {why}", "remove it")
        case None:
            return Refusal(f"{name} is not allowed: whether it is safe was not checked yet", "remove it")
    if argument.takes(value):
        return None
    return Refusal(f"{name} is {_quoted(value)}: it has to be {argument.allowed}", f"change the value of {name}")


def check_variable(name: str, value: str) -> Refusal | None:
    """Why ``spec.engine.env`` may not have the entry; None if it may."""
    if name not in VARIABLES:
        near = get_close_matches(name.upper(), VARIABLES, n=1, cutoff=0.8)
        known = "vLLM reads it, but it" if name in VLLM_VARIABLES else "it"
        fix = f"use {near[0]}, or remove it" if near else "remove it"
        return Refusal(f"{_quoted(name)} is not allowed: {known} is not in the list of variables that are", fix)
    if len(value) <= LONGEST_VALUE and _VARIABLE_VALUE.fullmatch(value):
        return None
    return Refusal(
        f"{name} is {_quoted(value)}: it has to be letters, digits and . _ , : ; = ^ + -", f"change the value of {name}"
    )


def vllm_arguments(extra: Mapping[str, str], *, of_server: bool) -> tuple[str, ...]:
    """The arguments of `vllm serve` for entries that were checked: those of the HTTP server's node, or the others."""
    chosen = (ARGUMENTS[name] for name in sorted(extra))
    return tuple(part for each in chosen if each.is_of_server is of_server for part in each.arguments(extra[each.name]))


def nearest(word: str, words: tuple[str, ...]) -> str:
    """The one that `word` was probably meant to be, as the end of a sentence; empty for none."""
    near = get_close_matches(word, words, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _nearest(name: str) -> tuple[str, str]:
    """What to do about a name that is none, and the field if one sets what was meant."""
    plain = name.lstrip("-").replace("_", "-").lower()
    positive = plain.removeprefix("no-")
    if plain != name and plain in ARGUMENTS:
        meant = plain
    elif positive in ARGUMENTS and positive != plain:
        return (f'write {positive}: "false"', "")
    elif plain in _BY_OTHER_NAME:
        meant = _BY_OTHER_NAME[plain]
    else:
        near = get_close_matches(plain, ARGUMENTS, n=1)
        if not near:
            return ("remove it", "")
        meant = near[0]
    found = ruling(meant)
    if found is not None and found.handling is Handling.FIELD:
        return (f"the nearest is {meant}: set {found.why}", found.why)
    return (f"the nearest is {meant}", "")


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:79] + "…")


def _is_plain_json(text: str, *, slashes: bool) -> bool:
    """Whether it is an object or list that is not too deep, whose keys name neither code nor files."""
    found = read_json(text, most=LONGEST_VALUE, deepest=_DEEPEST)
    return isinstance(found, dict | list) and _is_plain(found, slashes=slashes)


def _is_plain(value: object, *, slashes: bool) -> bool:
    match value:
        case dict():
            return all(
                not _NAMES_CODE_OR_FILES.search(str(key).lower()) and _is_plain(each, slashes=slashes)
                for key, each in value.items()
            )
        case list():
            return all(_is_plain(each, slashes=slashes) for each in value)
        case str():
            return len(value) <= LONGEST_TEXT and (slashes or not set(value) & {"/", "\\"})
    return True
