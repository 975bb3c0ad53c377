"""The environment of the runtime: every variable it reads, stated once.

The operator writes these names into the engine's ConfigMap and the runtime reads them; the reference page
docs/reference/engine-variables.md is printed from this table. A variable that is absent leaves the choice to
vLLM, or to the rule its row states.
"""

from __future__ import annotations

from types import MappingProxyType

from llmservice_contract.media import DOMAIN, LONGEST_DOMAIN
from llmservice_contract.variable import Kind, Variable

QUANTIZATION_METHODS = ("auto", "none", "fp8", "int8", "int4", "awq", "gptq")
KV_CACHE_DTYPES = ("auto", "fp8", "fp8_e4m3", "fp8_e5m2")
ACCELERATORS = ("nvidia", "amd", "cpu")
ATTENTION_BACKENDS = ("auto", "flash", "triton", "flashinfer")
SPECULATIVE_METHODS = ("ngram", "draft")
LOG_FORMATS = ("text", "json")

DEFAULT_SPECULATIVE_TOKENS = 4
DEFAULT_LAME_DUCK_SECONDS = 5
DEFAULT_DRAIN_SECONDS = 30

MODEL_NAME = Variable(
    "MODEL_NAME",
    Kind.TEXT,
    "The model: an absolute path in the container, a Hugging Face repository (org/name or hf://org/name), "
    "a repository of a hub at another host (https://host/org/name), or an S3 path (s3://bucket/path).",
    "The runtime refuses to start.",
    field="spec.model.source",
    flag="the model argument",
    maximum=1024,
    required=True,
)
MODEL_REVISION = Variable(
    "MODEL_REVISION",
    Kind.TEXT,
    "Commit, tag or branch of a hub's repository, for the weights and the tokenizer alike. Refused "
    "for every other kind of source.",
    "The repository's default branch.",
    field="spec.model.revision",
    flag="--revision, --tokenizer-revision",
    maximum=128,
    pattern=r"[A-Za-z0-9][A-Za-z0-9._/-]*",
)
SERVED_MODEL_NAMES = Variable(
    "SERVED_MODEL_NAMES",
    Kind.NAMES,
    "The names that requests call the model by; the first one is what responses and metrics show.",
    "The value of MODEL_NAME.",
    field="spec.model.servedNames",
    flag="--served-model-name",
    maximum=128,
    pattern=r"[A-Za-z0-9][A-Za-z0-9._:/-]*",
)
MAX_CONTEXT_LENGTH = Variable(
    "MAX_CONTEXT_LENGTH",
    Kind.INTEGER,
    "The longest sequence that is served: prompt and answer together.",
    "The length in the model's own configuration.",
    field="spec.model.maxContextLength",
    flag="--max-model-len",
    minimum=16,
    maximum=16_777_216,
    unit="tokens",
)
QUANTIZATION_MODE = Variable(
    "QUANTIZATION_MODE",
    Kind.CHOICE,
    "auto takes the checkpoint as it is. none requires a 16-bit checkpoint. fp8 quantizes a 16-bit "
    "checkpoint while loading. int8 and int4 require a compressed-tensors checkpoint of that width, awq and "
    "gptq one of that method. A CPU takes fp8 only as it is stored, and 4 bits only with AVX-512.",
    "auto.",
    field="spec.quantization.method",
    flag="--quantization (fp8 of a 16-bit checkpoint only)",
    choices=QUANTIZATION_METHODS,
)
KV_CACHE_DTYPE = Variable(
    "KV_CACHE_DTYPE",
    Kind.CHOICE,
    "The type in which keys and values are cached; fp8 holds about twice the tokens in the same memory.",
    "auto: the model's own type.",
    field="spec.quantization.kvCacheDtype",
    flag="--kv-cache-dtype",
    choices=KV_CACHE_DTYPES,
)
TENSOR_PARALLEL_SIZE = Variable(
    "TENSOR_PARALLEL_SIZE",
    Kind.INTEGER,
    "Over how many devices each layer is split; must divide the model's attention heads.",
    "1.",
    field="spec.parallelism.tensor",
    flag="--tensor-parallel-size",
    minimum=1,
    maximum=64,
)
PIPELINE_PARALLEL_SIZE = Variable(
    "PIPELINE_PARALLEL_SIZE",
    Kind.INTEGER,
    "Into how many consecutive groups the layers are cut. Above 1 it is refused on a CPU.",
    "1.",
    field="spec.parallelism.pipeline",
    flag="--pipeline-parallel-size",
    minimum=1,
    maximum=64,
)
NODES_PER_REPLICA = Variable(
    "NODES_PER_REPLICA",
    Kind.INTEGER,
    "Over how many nodes the replica is spread; each runs one rank with an equal part of the devices. Must divide "
    "TENSOR_PARALLEL_SIZE x PIPELINE_PARALLEL_SIZE.",
    "1.",
    field="spec.parallelism.nodesPerReplica",
    flag="--nnodes",
    minimum=1,
    maximum=16,
)
NODE_RANK = Variable(
    "NODE_RANK",
    Kind.INTEGER,
    "Which of the replica's nodes this is. Rank 0 answers requests, the others compute for it.",
    "0.",
    flag="--node-rank, --headless",
    minimum=0,
    maximum=15,
)
MASTER_ADDRESS = Variable(
    "MASTER_ADDRESS",
    Kind.TEXT,
    "Host name or address of rank 0, by which the ranks of one replica find each other. Needed with NODES_PER_REPLICA "
    "above 1.",
    "None is needed.",
    flag="--master-addr",
    maximum=253,
    pattern=r"[A-Za-z0-9][A-Za-z0-9.:-]*",
)
GROUP_SECRET = Variable(
    "GROUP_SECRET",
    Kind.TEXT,
    "The file with a secret of at least 16 bytes: ranks of one replica that know it form a group, and no others. It "
    "protects the runtime's own port between ranks; vLLM's own take no secret. Read anew for each connection.",
    "Whoever reaches the port and would run the same may join.",
    field="spec.parallelism.secretRef",
    maximum=1024,
    pattern=r"/.*",
)
ACCELERATOR = Variable(
    "ACCELERATOR",
    Kind.CHOICE,
    "What the engine computes on.",
    "nvidia.",
    field="spec.accelerator.type",
    choices=ACCELERATORS,
)
GPU_MEMORY_UTILIZATION = Variable(
    "GPU_MEMORY_UTILIZATION",
    Kind.NUMBER,
    "The share of each GPU's memory that vLLM takes for weights, activations and the KV cache. Refused on a "
    "CPU, where CPU_KV_CACHE_GIB takes its place.",
    "vLLM's own: 0.92.",
    field="spec.engine.gpuMemoryUtilization",
    flag="--gpu-memory-utilization",
    minimum=0.001,
    maximum=1,
)
MAX_BATCH_SIZE = Variable(
    "MAX_BATCH_SIZE",
    Kind.INTEGER,
    "How many sequences run at the same time.",
    "vLLM's own, by the memory of the GPU.",
    field="spec.engine.maxNumSeqs",
    flag="--max-num-seqs",
    minimum=1,
    maximum=65_536,
    unit="sequences",
)
MAX_NUM_BATCHED_TOKENS = Variable(
    "MAX_NUM_BATCHED_TOKENS",
    Kind.INTEGER,
    "How many tokens one scheduling step takes at most.",
    "vLLM's own, by the kind of GPU.",
    field="spec.engine.maxNumBatchedTokens",
    flag="--max-num-batched-tokens",
    minimum=16,
    maximum=16_777_216,
    unit="tokens",
)
ENABLE_PREFIX_CACHING = Variable(
    "ENABLE_PREFIX_CACHING",
    Kind.BOOLEAN,
    "Whether the cache of a shared beginning of prompts is used again.",
    "vLLM's own: true.",
    field="spec.engine.prefixCaching",
    flag="--enable-prefix-caching, --no-enable-prefix-caching",
)
ENABLE_CHUNKED_PREFILL = Variable(
    "ENABLE_CHUNKED_PREFILL",
    Kind.BOOLEAN,
    "Whether long prompts are computed in pieces between the steps of other sequences. Where false, a prompt has to "
    "fit into one step: MAX_NUM_BATCHED_TOKENS must not be below MAX_CONTEXT_LENGTH.",
    "vLLM's own: true.",
    field="spec.engine.chunkedPrefill",
    flag="--enable-chunked-prefill, --no-enable-chunked-prefill",
)
SPECULATIVE_METHOD = Variable(
    "SPECULATIVE_METHOD",
    Kind.CHOICE,
    "How tokens are guessed that the model then checks several at a time: ngram looks them up in the prompt and the "
    "answer so far, draft asks a small model. Answers stay the same; requests with min_p or logit_bias are refused. "
    "Needs PIPELINE_PARALLEL_SIZE=1; refused on a CPU.",
    "No speculative decoding.",
    field="spec.engine.speculative.method",
    flag="--speculative-config",
    choices=SPECULATIVE_METHODS,
)
SPECULATIVE_MODEL = Variable(
    "SPECULATIVE_MODEL",
    Kind.TEXT,
    "The small model of SPECULATIVE_METHOD=draft, with the same vocabulary: a directory where MODEL_NAME is one, or a "
    "repository of the same hub.",
    "Required by draft, refused otherwise.",
    field="spec.engine.speculative.model",
    flag="--speculative-config",
    maximum=1024,
)
NUM_SPECULATIVE_TOKENS = Variable(
    "NUM_SPECULATIVE_TOKENS",
    Kind.INTEGER,
    "How many tokens are guessed at a time.",
    f"{DEFAULT_SPECULATIVE_TOKENS} with a SPECULATIVE_METHOD; refused without one.",
    field="spec.engine.speculative.tokens",
    flag="--speculative-config",
    minimum=1,
    maximum=16,
    unit="tokens",
)
ATTENTION_BACKEND = Variable(
    "ATTENTION_BACKEND",
    Kind.CHOICE,
    "The attention kernels. A forced choice fails at start where the GPU or the model does not support it; "
    "on a CPU only auto is allowed.",
    "auto: vLLM's own choice.",
    field="spec.engine.attention",
    flag="--attention-backend",
    choices=ATTENTION_BACKENDS,
)
ENABLE_FLASH_ATTENTION = Variable(
    "ENABLE_FLASH_ATTENTION",
    Kind.BOOLEAN,
    "true leaves the choice of kernels to vLLM, which takes flash attention where it runs; false takes the "
    "Triton kernels. Refused beside an ATTENTION_BACKEND that says otherwise.",
    "true.",
    flag="--attention-backend TRITON_ATTN (false only)",
)
BATCH_TIMEOUT_MS = Variable(
    "BATCH_TIMEOUT_MS",
    Kind.INTEGER,
    "How long /v1/batch gathers requests before it hands them to the engine together; it waits no longer than until "
    "MAX_BATCH_SIZE prompts are there. No other route waits: under continuous batching a request joins the running "
    "ones at the next step.",
    "0: at once.",
    field="spec.engine.batchTimeout",
    minimum=0,
    maximum=60_000,
    unit="ms",
)
CPU_KV_CACHE_GIB = Variable(
    "CPU_KV_CACHE_GIB",
    Kind.INTEGER,
    "Memory for the KV cache on a CPU, per rank. Refused on a GPU, where GPU_MEMORY_UTILIZATION rules.",
    "1 on a CPU.",
    flag="VLLM_CPU_KVCACHE_SPACE",
    minimum=1,
    maximum=4096,
    unit="GiB",
    field="spec.engine.kvCacheMemory",
)
STARTUP_BUDGET_SECONDS = Variable(
    "STARTUP_BUDGET_SECONDS",
    Kind.INTEGER,
    "How long the engine may take to get ready; the same budget as the startup probe's.",
    "vLLM's own: 600 s.",
    flag="VLLM_ENGINE_READY_TIMEOUT_S",
    minimum=30,
    maximum=86_400,
    unit="s",
)
PORT = Variable(
    "PORT",
    Kind.INTEGER,
    "The port of the HTTP server.",
    "8000.",
    flag="--port",
    minimum=1024,
    maximum=65_535,
)
METRICS_PORT = Variable(
    "METRICS_PORT",
    Kind.INTEGER,
    "The port that serves /metrics, and nothing else. Must differ from PORT.",
    "8002.",
    minimum=1024,
    maximum=65_535,
)

API_KEYS = Variable(
    "API_KEYS",
    Kind.TEXT,
    "The directory with one file for each API key, named by the key's id, as a Secret's volume has them. Changes are "
    "seen while the engine runs.",
    "There are no keys: where the policy requires one, every request is refused.",
    field="spec.access.apiKeys.secretRef",
    maximum=1024,
    pattern=r"/.*",
)
ACCESS_POLICY = Variable(
    "ACCESS_POLICY",
    Kind.TEXT,
    "The JSON file that says whether keys are required, what each tier may do and what one request may ask. Changes "
    "are seen while the engine runs.",
    "Where API_KEYS is set, every request needs a key and has the default limits; else there are neither.",
    field="spec.access",
    maximum=1024,
    pattern=r"/.*",
)
STORE_CREDENTIALS = Variable(
    "STORE_CREDENTIALS",
    Kind.TEXT,
    "The directory with the files username and password for the shared store of rate limits.",
    "The store is used without a login.",
    field="spec.access.rateLimits.store.credentialsRef",
    maximum=1024,
    pattern=r"/.*",
)
MEDIA_DOMAINS = Variable(
    "MEDIA_DOMAINS",
    Kind.NAMES,
    "Domains from which images, audio and video that a request names by URL are fetched, as long as they resolve to "
    "public addresses. A domain does not include its subdomains.",
    "Media are taken from data: URLs alone, unless PLATFORM_MEDIA_DOMAINS lists a domain.",
    field="spec.access.mediaDomains",
    flag="--allowed-media-domains",
    maximum=LONGEST_DOMAIN,
    pattern=DOMAIN,
)
PLATFORM_MEDIA_DOMAINS = Variable(
    "PLATFORM_MEDIA_DOMAINS",
    Kind.NAMES,
    "Further domains of the same use, which may resolve to private addresses too.",
    "None.",
    flag="--allowed-media-domains",
    maximum=LONGEST_DOMAIN,
    pattern=DOMAIN,
)
LOG_FORMAT = Variable(
    "LOG_FORMAT",
    Kind.CHOICE,
    "How the line about each request is written. vLLM's own lines stay text.",
    "text.",
    choices=LOG_FORMATS,
)
LAME_DUCK_SECONDS = Variable(
    "LAME_DUCK_SECONDS",
    Kind.INTEGER,
    "How long the engine, once it is asked to stop, still takes new requests while /ready already says no: the time "
    "that routers need to hear of it.",
    f"{DEFAULT_LAME_DUCK_SECONDS}.",
    field="spec.shutdown.lameDuckSeconds",
    minimum=0,
    maximum=600,
    unit="s",
)
DRAIN_SECONDS = Variable(
    "DRAIN_SECONDS",
    Kind.INTEGER,
    "How long running requests may take to their end after that, while new ones are refused. What still runs then is "
    "cut.",
    f"{DEFAULT_DRAIN_SECONDS}.",
    field="spec.shutdown.drainSeconds",
    minimum=0,
    maximum=86_400,
    unit="s",
)
OTLP_TRACES_ENDPOINT = Variable(
    "OTLP_TRACES_ENDPOINT",
    Kind.TEXT,
    "Where traces are sent: http(s)://HOST:4317 by gRPC, or http(s)://HOST:4318/v1/traces by HTTP.",
    "No traces.",
    field="spec.tracing.endpoint",
    flag="--otlp-traces-endpoint, OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    maximum=1024,
    pattern=r"https?://[^/@?#]+(/[^?#]*)?",
)
TRACE_SAMPLING = Variable(
    "TRACE_SAMPLING",
    Kind.NUMBER,
    "The share of requests that are traced. Refused without OTLP_TRACES_ENDPOINT.",
    "1: all of them.",
    field="spec.tracing.samplingPercent",
    flag="OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG",
    minimum=0,
    maximum=1,
)
TRUST_TRACE_FLAGS = Variable(
    "TRUST_TRACE_FLAGS",
    Kind.BOOLEAN,
    "Whether a client's `traceparent` decides if its request is traced. TRACE_SAMPLING is then for the others.",
    "false: a client names the trace, and TRACE_SAMPLING decides.",
)

VARIABLES = (
    MODEL_NAME,
    MODEL_REVISION,
    SERVED_MODEL_NAMES,
    MAX_CONTEXT_LENGTH,
    QUANTIZATION_MODE,
    KV_CACHE_DTYPE,
    TENSOR_PARALLEL_SIZE,
    PIPELINE_PARALLEL_SIZE,
    NODES_PER_REPLICA,
    NODE_RANK,
    MASTER_ADDRESS,
    GROUP_SECRET,
    ACCELERATOR,
    GPU_MEMORY_UTILIZATION,
    MAX_BATCH_SIZE,
    MAX_NUM_BATCHED_TOKENS,
    ENABLE_PREFIX_CACHING,
    ENABLE_CHUNKED_PREFILL,
    SPECULATIVE_METHOD,
    SPECULATIVE_MODEL,
    NUM_SPECULATIVE_TOKENS,
    ATTENTION_BACKEND,
    ENABLE_FLASH_ATTENTION,
    BATCH_TIMEOUT_MS,
    CPU_KV_CACHE_GIB,
    STARTUP_BUDGET_SECONDS,
    PORT,
    METRICS_PORT,
    API_KEYS,
    ACCESS_POLICY,
    STORE_CREDENTIALS,
    MEDIA_DOMAINS,
    PLATFORM_MEDIA_DOMAINS,
    LOG_FORMAT,
    LAME_DUCK_SECONDS,
    DRAIN_SECONDS,
    OTLP_TRACES_ENDPOINT,
    TRACE_SAMPLING,
    TRUST_TRACE_FLAGS,
)
BY_NAME = MappingProxyType({variable.name: variable for variable in VARIABLES})
