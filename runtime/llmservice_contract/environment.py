"""The environment of the runtime: every variable it reads, stated once.

The operator writes these names into the engine's ConfigMap and the runtime reads them; the reference page
docs/reference/engine-variables.md is printed from this table. A variable that is absent leaves the choice to
vLLM, or to the rule its row states.
"""

from __future__ import annotations

from types import MappingProxyType

from llmservice_contract.variable import Kind, Variable

QUANTIZATION_METHODS = ("auto", "none", "fp8", "int8", "int4", "awq", "gptq")
KV_CACHE_DTYPES = ("auto", "fp8", "fp8_e4m3", "fp8_e5m2")
ACCELERATORS = ("nvidia", "amd", "cpu")
ATTENTION_BACKENDS = ("auto", "flash", "triton", "flashinfer")

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
    "gptq one of that method.",
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
    "How long a batch of /v1/batch waits to fill. Continuous batching knows no such wait and this version "
    "does not serve /v1/batch: the value is checked, and the start says in one line that it has no effect.",
    "No effect.",
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

VARIABLES = (
    MODEL_NAME,
    MODEL_REVISION,
    SERVED_MODEL_NAMES,
    MAX_CONTEXT_LENGTH,
    QUANTIZATION_MODE,
    KV_CACHE_DTYPE,
    TENSOR_PARALLEL_SIZE,
    PIPELINE_PARALLEL_SIZE,
    ACCELERATOR,
    GPU_MEMORY_UTILIZATION,
    MAX_BATCH_SIZE,
    MAX_NUM_BATCHED_TOKENS,
    ENABLE_PREFIX_CACHING,
    ATTENTION_BACKEND,
    ENABLE_FLASH_ATTENTION,
    BATCH_TIMEOUT_MS,
    CPU_KV_CACHE_GIB,
    STARTUP_BUDGET_SECONDS,
    PORT,
)
BY_NAME = MappingProxyType({variable.name: variable for variable in VARIABLES})
