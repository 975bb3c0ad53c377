"""The engine settings: one row for each. Nothing about a setting is stated anywhere else.

A row names the field of the resource, the environment variable between operator and runtime, the flag of vLLM, the
type, the bounds, and the devices that the setting applies to. The bounds in the CRD, the environment that the operator
writes, the settings of the runtime, vLLM's command line and docs/reference/engine-variables.md follow from the rows.

A variable with the value of a field has the field's name: ``spec.engine.maxNumSeqs`` is ENGINE_MAX_NUM_SEQS. A variable
with another value, such as a file's path, has a name of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from llmservice_contract.choices import (
    GPUS,
    AcceleratorType,
    AttentionBackend,
    Convert,
    Dtype,
    KVCacheDtype,
    LoadFormat,
    LogFormat,
    ModelFormat,
    QuantizationMethod,
    Runner,
    SpeculativeMethod,
    StructuredOutputsBackend,
)
from llmservice_contract.container import HTTP_PORT, METRICS_PORT
from llmservice_contract.setting import (
    BadValue,
    Choice,
    Decimal,
    Document,
    Entries,
    Milliseconds,
    Names,
    Setting,
    Switch,
    Text,
    Whole,
    composed,
    flag,
    server_flag,
    vllm_variable,
)

DOMAIN = r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?[.])+[a-z]([-a-z0-9]{0,61}[a-z0-9])?"
"""A DNS name in lower case with a dot. Its last label begins with a letter, so that no form of an IPv4 address
matches."""
DOMAIN_IN_WORDS = "a DNS name in lower case with at least one dot, its last label beginning with a letter"
SHORTEST_DOMAIN, LONGEST_DOMAIN = 3, 253
MOST_DOMAINS = 32
NO_DOMAIN = "none.invalid"
"""For an engine without media domains, because vLLM fetches from every host if its list is empty. RFC 6761 reserves
.invalid: it never resolves."""


_FILE = r"/.*"
_PARSER = r"[a-z0-9][a-z0-9_-]*"
_PARSER_IN_WORDS = "lower-case letters, digits, `_` `-`"

MODEL_SOURCE = Text(
    field="spec.model.source",
    aliases=("MODEL_NAME",),
    description="The model: an absolute path in the container, a Hugging Face repository (org/name or hf://org/name), "
    "a repository of a hub at another host (https://host/org/name), or an S3 path (s3://bucket/path).",
    absent="The runtime refuses to start.",
    passing=composed("the model argument"),
    longest=1024,
    required=True,
)
MODEL_REVISION = Text(
    field="spec.model.revision",
    description="Commit, tag or branch of a hub's repository, for the weights and the tokenizer. Refused for every "
    "other kind of source.",
    absent="The repository's default branch.",
    passing=flag("--revision", "--tokenizer-revision"),
    longest=128,
    pattern=r"[A-Za-z0-9][A-Za-z0-9._/-]*",
    in_words="letters, digits, `.` `_` `/` `-`, the first a letter or digit",
)
MODEL_DIGEST = Text(
    field="spec.model.digest",
    description="The digest of the weights, from what a hub or S3 states of each *.safetensors. The runtime refuses to "
    "start with other weights.",
    absent="Any weights.",
    longest=71,
    pattern=r"sha256:[0-9a-f]{64}",
    in_words="`sha256:` and 64 hexadecimal digits",
)
MODEL_FORMAT = Choice(
    field="spec.model.format",
    description="How configuration and tokenizer are stored: hf is config.json and tokenizer.json, mistral is "
    "params.json and tekken.json with weights in consolidated*.safetensors.",
    absent="vLLM finds it by the files.",
    passing=composed("--config-format", "--tokenizer-mode", "--load-format"),
    choices=ModelFormat,
)
SERVED_NAMES = Names(
    field="spec.model.servedNames",
    aliases=("SERVED_MODEL_NAMES",),
    description="The names that requests call the model by; the first one is what responses and metrics show.",
    absent="The value of MODEL_SOURCE.",
    passing=flag("--served-model-name"),
    most=8,
    longest=128,
    pattern=r"[A-Za-z0-9][A-Za-z0-9._:/-]*",
    in_words="letters, digits, `.` `_` `:` `/` `-`, the first a letter or digit",
)
MAX_CONTEXT_LENGTH = Whole(
    field="spec.model.maxContextLength",
    aliases=("MAX_CONTEXT_LENGTH",),
    description="The longest sequence that is served: prompt and answer together.",
    absent="The length in the model's own configuration.",
    passing=flag("--max-model-len"),
    minimum=16,
    maximum=16_777_216,
    unit="tokens",
)
QUANTIZATION = Choice(
    field="spec.quantization.method",
    aliases=("QUANTIZATION_MODE",),
    description="auto takes the checkpoint as it is. none requires a 16-bit checkpoint. fp8 quantizes a 16-bit "
    "checkpoint while loading. int8 and int4 require a compressed-tensors checkpoint of that width, awq and gptq one "
    "of that method. A CPU takes fp8 only as it is stored, and 4 bits only with AVX-512.",
    default=QuantizationMethod.AUTO,
    passing=composed("--quantization (fp8 of a 16-bit checkpoint only)"),
    choices=QuantizationMethod,
)
KV_CACHE_DTYPE = Choice(
    field="spec.quantization.kvCacheDtype",
    aliases=("KV_CACHE_DTYPE",),
    description="The type in which keys and values are cached; fp8 holds about twice the tokens in the same memory.",
    absent="auto: the model's own type.",
    passing=flag("--kv-cache-dtype"),
    choices=KVCacheDtype,
)
EXPERT_PARALLEL = Switch(
    field="spec.parallelism.expertParallel",
    description="Whether whole experts of a mixture-of-experts model are spread over the PARALLELISM_TENSOR x "
    "PARALLELISM_DATA devices, in place of parts of each expert.",
    absent="vLLM's own: false.",
    passing=flag("--enable-expert-parallel"),
    devices=GPUS,
    elsewhere="vLLM spreads experts over GPUs alone",
)
TENSOR_PARALLEL = Whole(
    field="spec.parallelism.tensor",
    aliases=("TENSOR_PARALLEL_SIZE",),
    description="Over how many devices each layer is split; must divide the model's attention heads.",
    default=1,
    passing=flag("--tensor-parallel-size"),
    minimum=1,
    maximum=16,
)
PIPELINE_PARALLEL = Whole(
    field="spec.parallelism.pipeline",
    aliases=("PIPELINE_PARALLEL_SIZE",),
    description="Into how many consecutive groups the layers are cut.",
    default=1,
    passing=flag("--pipeline-parallel-size"),
    devices=GPUS,
    elsewhere="vLLM starts so on a CPU, and fails at the first request",
    instead="spec.parallelism.tensor",
    minimum=1,
    maximum=16,
)
DATA_PARALLEL = Whole(
    field="spec.parallelism.data",
    description="How many engines the replica has, each on PARALLELISM_TENSOR x PARALLELISM_PIPELINE devices of its "
    "own and with its own KV cache and batch. One HTTP server distributes the requests over them. Needs "
    "PARALLELISM_NODES_PER_REPLICA=1.",
    absent="One engine.",
    passing=flag("--data-parallel-size"),
    minimum=1,
    maximum=16,
)
NODES_PER_REPLICA = Whole(
    field="spec.parallelism.nodesPerReplica",
    aliases=("NODES_PER_REPLICA",),
    description="Over how many nodes the replica is spread; each runs one rank with an equal part of the devices. Must "
    "divide PARALLELISM_TENSOR x PARALLELISM_PIPELINE.",
    default=1,
    passing=composed("--nnodes"),
    minimum=1,
    maximum=16,
)
NODE_RANK = Whole(
    variable="NODE_RANK",
    description="Which of the replica's nodes this is. Rank 0 answers requests, the others compute for it.",
    default=0,
    passing=composed("--node-rank", "--headless"),
    minimum=0,
    maximum=15,
)
MASTER_ADDRESS = Text(
    variable="MASTER_ADDRESS",
    description="Host name or address of rank 0, by which the ranks of one replica find each other. Needed with "
    "PARALLELISM_NODES_PER_REPLICA above 1.",
    absent="None is needed.",
    passing=composed("--master-addr"),
    longest=253,
    pattern=r"[A-Za-z0-9][A-Za-z0-9.:-]*",
    in_words="letters, digits, `.` `:` `-`, the first a letter or digit",
)
GROUP_SECRET = Text(
    variable="GROUP_SECRET",
    field="spec.parallelism.secretRef",
    description="The file with a secret of at least 16 bytes: ranks of one replica that know it form a group, and no "
    "others. It protects the runtime's own port between ranks; vLLM's own take no secret. Read anew for each "
    "connection.",
    absent="Every pod that reaches the port and would run the same may join.",
    longest=1024,
    pattern=_FILE,
    in_words="an absolute path",
)
ACCELERATOR = Choice(
    field="spec.accelerator.type",
    aliases=("ACCELERATOR",),
    description="What the engine computes on.",
    default=AcceleratorType.NVIDIA,
    choices=AcceleratorType,
)
GPU_MEMORY_UTILIZATION = Decimal(
    field="spec.engine.gpuMemoryUtilization",
    aliases=("GPU_MEMORY_UTILIZATION",),
    description="The share of each GPU's memory that vLLM takes for weights, activations and the KV cache.",
    absent="vLLM's own: 0.92.",
    passing=flag("--gpu-memory-utilization"),
    devices=GPUS,
    elsewhere="a CPU has no GPU memory",
    instead="spec.engine.kvCacheMemory",
    minimum=0.001,
    maximum=1,
)
MAX_NUM_SEQS = Whole(
    field="spec.engine.maxNumSeqs",
    aliases=("MAX_BATCH_SIZE",),
    description="How many sequences run at the same time.",
    absent="vLLM's own, by the memory of the GPU.",
    passing=flag("--max-num-seqs"),
    minimum=1,
    maximum=65_536,
    unit="sequences",
)
MAX_NUM_BATCHED_TOKENS = Whole(
    field="spec.engine.maxNumBatchedTokens",
    aliases=("MAX_NUM_BATCHED_TOKENS",),
    description="How many tokens one scheduling step takes at most.",
    absent="vLLM's own, by the kind of GPU.",
    passing=flag("--max-num-batched-tokens"),
    minimum=16,
    maximum=16_777_216,
    unit="tokens",
)
PREFIX_CACHING = Switch(
    field="spec.engine.prefixCaching",
    aliases=("ENABLE_PREFIX_CACHING",),
    description="Whether the cache of a shared beginning of prompts is used again.",
    absent="vLLM's own: true.",
    passing=flag("--enable-prefix-caching"),
)
CHUNKED_PREFILL = Switch(
    field="spec.engine.chunkedPrefill",
    aliases=("ENABLE_CHUNKED_PREFILL",),
    description="Whether long prompts are computed in pieces between the steps of other sequences. If false, a prompt "
    "has to fit into one step: ENGINE_MAX_NUM_BATCHED_TOKENS must not be below MODEL_MAX_CONTEXT_LENGTH.",
    absent="vLLM's own: true.",
    passing=flag("--enable-chunked-prefill"),
)
SPECULATIVE_METHOD = Choice(
    field="spec.engine.speculative.method",
    aliases=("SPECULATIVE_METHOD",),
    description="How draft tokens are made, several of which the model checks at a time: ngram looks them up in the "
    "prompt and the answer so far, draft asks a small model, eagle and eagle3 ask heads that were trained for "
    "the model, mtp asks the model's own layers for it. Answers stay the same; requests with min_p or logit_bias are "
    "refused. "
    "Needs PARALLELISM_PIPELINE=1.",
    absent="No speculative decoding.",
    passing=composed("--speculative-config"),
    devices=GPUS,
    elsewhere="vLLM answers wrongly on a CPU when a request has a temperature",
    choices=SpeculativeMethod,
)
SPECULATIVE_MODEL = Text(
    field="spec.engine.speculative.model",
    aliases=("SPECULATIVE_MODEL",),
    description="The small model of ENGINE_SPECULATIVE_METHOD=draft, with the same vocabulary, or the heads of eagle "
    "and eagle3: a directory if MODEL_SOURCE is one, else a repository of the same hub.",
    absent="Required by draft, eagle and eagle3, refused otherwise.",
    passing=composed("--speculative-config"),
    longest=1024,
)
SPECULATIVE_REVISION = Text(
    field="spec.engine.speculative.revision",
    description="Commit, tag or branch of the repository of ENGINE_SPECULATIVE_MODEL. Refused for a directory.",
    absent="The repository's default branch.",
    passing=composed("--speculative-config"),
    longest=128,
    pattern=r"[A-Za-z0-9][A-Za-z0-9._/-]*",
    in_words="letters, digits, `.` `_` `/` `-`, the first a letter or digit",
)
SPECULATIVE_TOKENS = Whole(
    field="spec.engine.speculative.tokens",
    aliases=("NUM_SPECULATIVE_TOKENS",),
    description="How many tokens are guessed at a time. Refused without ENGINE_SPECULATIVE_METHOD.",
    default=4,
    passing=composed("--speculative-config"),
    minimum=1,
    maximum=16,
    unit="tokens",
)
ATTENTION = Choice(
    field="spec.engine.attention",
    aliases=("ATTENTION_BACKEND",),
    description="The attention kernels. A forced choice fails at start if the GPU or the model does not support it.",
    default=AttentionBackend.AUTO,
    absent="auto: vLLM's own choice.",
    passing=flag("--attention-backend"),
    devices=GPUS,
    elsewhere="a CPU has one attention kernel",
    choices=AttentionBackend,
    vllm_words={
        AttentionBackend.FLASH: "FLASH_ATTN",
        AttentionBackend.TRITON: "TRITON_ATTN",
        AttentionBackend.FLASHINFER: "FLASHINFER",
    },
)
ENABLE_FLASH_ATTENTION = Switch(
    variable="ENABLE_FLASH_ATTENTION",
    description="Another way to say ENGINE_ATTENTION: true is auto, false is triton. Refused beside an "
    "ENGINE_ATTENTION that says otherwise.",
    default=True,
    devices=GPUS,
    elsewhere="a CPU has one attention kernel",
)
BATCH_TIMEOUT = Milliseconds(
    field="spec.engine.batchTimeout",
    aliases=("BATCH_TIMEOUT_MS",),
    description="How long /v1/batch gathers requests before it hands them to the engine together; it waits no longer "
    "than until ENGINE_MAX_NUM_SEQS prompts are there. No other route waits: under continuous batching a request joins "
    "the running ones at the next step.",
    default=0,
    absent="0: at once.",
    maximum=60_000,
)
DTYPE = Choice(
    field="spec.engine.dtype",
    description="The type of the numbers that the model is computed with.",
    absent="auto: the checkpoint's own, and bfloat16 in place of float32.",
    passing=flag("--dtype"),
    choices=Dtype,
)
LOAD_FORMAT = Choice(
    field="spec.engine.loadFormat",
    description="How safetensors are read: fastsafetensors and runai_streamer read in parallel, dummy makes up "
    "weights and reads none, for tests of speed. Files of other kinds can carry code and are never loaded.",
    absent="safetensors; runai_streamer for s3://, mistral for weights in consolidated*.safetensors.",
    passing=composed("--load-format"),
    choices=LoadFormat,
)
SEED = Whole(
    field="spec.engine.seed",
    description="The seed of random numbers, for requests that name none.",
    absent="vLLM's own: 0.",
    passing=flag("--seed"),
    minimum=0,
    maximum=2**31 - 1,
)
RUNNER = Choice(
    field="spec.engine.runner",
    description="generate answers with text, pooling with vectors or scores: /v1/embeddings, /score, /rerank, "
    "/classify and /pooling.",
    absent="By the model's architecture.",
    passing=flag("--runner"),
    choices=Runner,
)
CONVERT = Choice(
    field="spec.engine.convert",
    description="What a model that generates text is made into for ENGINE_RUNNER=pooling: embed gives vectors, "
    "classify classes and scores.",
    absent="By the model's architecture.",
    passing=flag("--convert"),
    choices=Convert,
)
TOOL_CALL_PARSER = Text(
    field="spec.engine.toolCallParser",
    description="The parser that finds calls of tools in answers. none switches it off: then requests with tools are "
    "answered only if they name the tool.",
    absent="By the model's architecture and chat template; none if these do not tell.",
    passing=composed("--tool-call-parser", "--enable-auto-tool-choice"),
    longest=64,
    pattern=_PARSER,
    in_words=_PARSER_IN_WORDS,
)
REASONING_PARSER = Text(
    field="spec.engine.reasoningParser",
    description="The parser that separates reasoning from the answer. none leaves it in the answer.",
    absent="By the model's architecture and chat template; none if these do not tell.",
    passing=composed("--reasoning-parser"),
    longest=64,
    pattern=_PARSER,
    in_words=_PARSER_IN_WORDS,
)
CHAT_TEMPLATE = Text(
    variable="CHAT_TEMPLATE",
    field="spec.engine.chatTemplate",
    description="The file with the Jinja template that makes a prompt of messages, or the name of one that vLLM brings "
    "along.",
    absent="The model's own.",
    passing=server_flag("--chat-template"),
    longest=1024,
    pattern=rf"{_FILE}|template_[a-z0-9_]+\.jinja",
    in_words="an absolute path, or `template_NAME.jinja`",
)
IMAGE_LIMIT, VIDEO_LIMIT, AUDIO_LIMIT = (
    Whole(
        field=f"spec.engine.multimodalLimits.{kind}",
        description=f"How many {what} one prompt may have; 0 loads nothing for them.",
        absent="vLLM's own: 999.",
        passing=composed("--limit-mm-per-prompt"),
        minimum=0,
        maximum=999,
    )
    for kind, what in (("image", "images"), ("video", "videos"), ("audio", "audio clips"))
)
STRUCTURED_OUTPUTS_BACKEND = Choice(
    field="spec.engine.structuredOutputsBackend",
    description="What compiles schemas and grammars of structured answers. The limits on these were tried with the two "
    "that can be chosen, and with no other of vLLM.",
    absent="auto: vLLM's own choice for each request.",
    passing=composed("--structured-outputs-config"),
    choices=StructuredOutputsBackend,
)
KV_OFFLOAD_GIB = Whole(
    variable="KV_OFFLOAD_GIB",
    field="spec.engine.kvOffloadMemory",
    description="Host memory, over all devices of the node, that keeps cached keys and values which left the GPU. It "
    "lies in /dev/shm. Each engine of PARALLELISM_DATA has an equal part.",
    absent="None.",
    passing=composed("--kv-offloading-size"),
    devices=GPUS,
    elsewhere="a CPU's KV cache is in host memory already",
    instead="spec.engine.kvCacheMemory",
    minimum=1,
    maximum=4096,
    unit="GiB",
)
HF_OVERRIDES = Document(
    field="spec.engine.hfOverrides",
    description="Values that replace those of the model's config.json.",
    absent="None.",
    passing=flag("--hf-overrides"),
    longest=4096,
    deepest=8,
    forbidden=r"^__|^attribute_map$|auto_map|speculators|trust_remote_code|custom_pipelines|pretrained_backbone"
    r"|(^|_)(path|file|dir|repo|repo_id|model_id)s?$",
    in_words="that name code, files or other models (such as auto_map, attribute_map, name_or_path, text_model_id, "
    "speculators_config, trust_remote_code)",
)
EXTRA_ARGS = Entries(
    field="spec.engine.extraArgs",
    description="Further arguments of `vllm serve`, by their names without dashes; [every argument](vllm-arguments.md) "
    "says which are allowed. A switch is true or false, and several values are separated by spaces.",
    absent="None.",
    passing=composed("the arguments themselves"),
    most=32,
    longest_name=64,
    longest=1024,
)
CPU_KV_CACHE_GIB = Whole(
    variable="CPU_KV_CACHE_GIB",
    field="spec.engine.kvCacheMemory",
    description="Memory for the KV cache on a CPU, per rank.",
    default=1,
    passing=vllm_variable("VLLM_CPU_KVCACHE_SPACE"),
    devices=frozenset({AcceleratorType.CPU}),
    elsewhere="a GPU's KV cache is in its own memory",
    instead="spec.engine.gpuMemoryUtilization",
    minimum=1,
    maximum=4096,
    unit="GiB",
)
STARTUP_BUDGET_SECONDS = Whole(
    variable="STARTUP_BUDGET_SECONDS",
    description="How long the engine may take to get ready; the same budget as the startup probe's.",
    absent="vLLM's own: 600 s.",
    passing=vllm_variable("VLLM_ENGINE_READY_TIMEOUT_S"),
    minimum=30,
    maximum=86_400,
    unit="s",
)
STEP_TIMEOUT_SECONDS = Whole(
    field="spec.engine.stepTimeoutSeconds",
    description="How long one step of the engine may take before it counts as hanging and the container restarts; 0: "
    "hangs are not looked for.",
    absent="300, on a CPU 1800.",
    minimum=0,
    maximum=86_400,
    unit="s",
)
PORT = Whole(
    variable="PORT",
    description="The port of the HTTP server.",
    default=HTTP_PORT,
    passing=server_flag("--port"),
    minimum=1024,
    maximum=65_535,
)
METRICS_PORT_ROW = Whole(
    variable="METRICS_PORT",
    description="The port that serves /metrics, and nothing else. Must differ from PORT.",
    default=METRICS_PORT,
    minimum=1024,
    maximum=65_535,
)
API_KEYS = Text(
    variable="API_KEYS",
    field="spec.access.apiKeys.secretRef",
    description="The directory with one file for each API key, named by the key's id, as a Secret's volume has them. "
    "Changes are seen while the engine runs.",
    absent="There are no keys: if the policy requires one, every request is refused.",
    longest=1024,
    pattern=_FILE,
    in_words="an absolute path",
)
ACCESS_POLICY = Text(
    variable="ACCESS_POLICY",
    field="spec.access",
    description="The JSON file that says whether keys are required, what each tier may do and what one request may "
    "ask. Changes are seen while the engine runs.",
    absent="If API_KEYS is set, every request needs a key and has the default limits; else there are neither.",
    longest=1024,
    pattern=_FILE,
    in_words="an absolute path",
)
ADAPTERS = Text(
    variable="ADAPTERS",
    field="spec.adapters",
    description="The JSON file that lists the LoRA adapters. Changes are seen while the engine runs. Needs "
    "PARALLELISM_NODES_PER_REPLICA=1.",
    absent="The engine serves no adapters, and reserves no memory for them.",
    passing=composed("--enable-lora", "--max-cpu-loras"),
    longest=1024,
    pattern=_FILE,
    in_words="an absolute path",
)
MAX_LORAS = Whole(
    field="spec.engine.maxLoras",
    description="How many LoRA adapters one batch uses at the same time. Each takes memory for an adapter of "
    "ENGINE_MAX_LORA_RANK. Without effect without ADAPTERS.",
    default=4,
    passing=composed("--max-loras"),
    minimum=1,
    maximum=32,
    unit="adapters",
)
MAX_LORA_RANK = Whole(
    field="spec.engine.maxLoraRank",
    description="The highest rank of a LoRA adapter, rounded up to 8, 16, 32, 64, 128, 256, 320 or 512. Without effect "
    "without ADAPTERS.",
    default=16,
    passing=composed("--max-lora-rank"),
    minimum=1,
    maximum=512,
)
FAIR_SHARING = Switch(
    variable="FAIR_SHARING",
    field="spec.access.fairSharing",
    description="Whether vLLM takes waiting requests by the priorities that the gateway sets, so that keys share the "
    "engine fairly. The shares are in the file of ACCESS_POLICY.",
    default=False,
    absent="false: waiting requests are taken in the order of their arrival.",
    passing=composed("--scheduling-policy"),
)
STORE_CREDENTIALS = Text(
    variable="STORE_CREDENTIALS",
    field="spec.access.rateLimits.store.credentialsRef",
    description="The directory with the files username and password for the shared store of rate limits.",
    absent="The store is used without a login.",
    longest=1024,
    pattern=_FILE,
    in_words="an absolute path",
)
MEDIA_DOMAINS = Names(
    field="spec.access.mediaDomains",
    aliases=("MEDIA_DOMAINS",),
    description="Domains from which images, audio and video that a request names by URL are fetched, if they resolve "
    "to public addresses. A domain does not include its subdomains.",
    absent="Media are accepted only from data: URLs, unless PLATFORM_MEDIA_DOMAINS lists a domain.",
    passing=composed("--allowed-media-domains"),
    most=MOST_DOMAINS,
    shortest=SHORTEST_DOMAIN,
    longest=LONGEST_DOMAIN,
    pattern=DOMAIN,
    in_words=DOMAIN_IN_WORDS,
)
PLATFORM_MEDIA_DOMAINS = Names(
    variable="PLATFORM_MEDIA_DOMAINS",
    description="Further domains of the same use, which may resolve to private addresses too.",
    absent="None.",
    passing=composed("--allowed-media-domains"),
    most=MOST_DOMAINS,
    shortest=SHORTEST_DOMAIN,
    longest=LONGEST_DOMAIN,
    pattern=DOMAIN,
    in_words=DOMAIN_IN_WORDS,
)
LOG_FORMAT = Choice(
    variable="LOG_FORMAT",
    description="How the line about each request is written. vLLM's own lines stay text.",
    default=LogFormat.TEXT,
    choices=LogFormat,
)
LAME_DUCK_SECONDS = Whole(
    field="spec.shutdown.lameDuckSeconds",
    aliases=("LAME_DUCK_SECONDS",),
    description="How long the engine still accepts new requests after a stop signal, while /ready already fails: "
    "the time that routers need to notice it.",
    default=5,
    minimum=0,
    maximum=300,
    unit="s",
)
DRAIN_SECONDS = Whole(
    field="spec.shutdown.drainSeconds",
    aliases=("DRAIN_SECONDS",),
    description="How long running requests may take to their end after that, while new ones are refused. What still "
    "runs then is cut.",
    default=30,
    minimum=1,
    maximum=86_400,
    unit="s",
)
TRACING_ENDPOINT = Text(
    field="spec.tracing.endpoint",
    aliases=("OTLP_TRACES_ENDPOINT",),
    description="Where traces are sent: http(s)://HOST:4317 by gRPC, or http(s)://HOST:4318/v1/traces by HTTP.",
    absent="No traces.",
    passing=flag("--otlp-traces-endpoint"),
    longest=512,
    pattern=r"https?://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[1-9][0-9]{0,4})?(/[A-Za-z0-9._~/-]*)?",
    in_words="`http://` or `https://`, a host, its port, and a path if it has one",
)
TRACE_SAMPLING = Decimal(
    variable="TRACE_SAMPLING",
    field="spec.tracing.samplingPercent",
    description="The share of requests that are traced. Refused without TRACING_ENDPOINT.",
    default=1.0,
    absent="1: all of them.",
    passing=composed("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"),
    minimum=0,
    maximum=1,
)
TRUST_TRACE_FLAGS = Switch(
    variable="TRUST_TRACE_FLAGS",
    description="Whether a client's `traceparent` decides if its request is traced. TRACE_SAMPLING is then for the "
    "others.",
    default=False,
    absent="false: a client names the trace, and TRACE_SAMPLING decides.",
)

SETTINGS: tuple[Setting[Any], ...] = tuple(row for row in tuple(globals().values()) if isinstance(row, Setting))
"""Every row above, in that order."""

BY_VARIABLE: Mapping[str, Setting[Any]] = MappingProxyType(
    {name: setting for setting in SETTINGS for name in (setting.name, *setting.aliases)}
)
"""By the name of its variable and by each other name of that."""

BY_FIELD: Mapping[str, Setting[Any]] = MappingProxyType({row.field: row for row in SETTINGS if row.field})


def with_current_names(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment under the names of today and with each value written as today, so that the environments that two
    versions of the operator wrote can be compared. What no row knows stays as it is."""
    found: dict[str, str] = {}
    for name, text in environment.items():
        setting = BY_VARIABLE.get(name)
        if setting is None:
            found[name] = text
        elif name == setting.name or setting.name not in found:
            found[setting.name] = _rewritten(setting, text)
    return found


def _rewritten(setting: Setting[Any], text: str) -> str:
    try:
        return setting.text(setting.parse(text))
    except BadValue:
        return text
