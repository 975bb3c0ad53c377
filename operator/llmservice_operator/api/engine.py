"""How vLLM runs: memory, batching, caching, attention and speculation."""

from typing import Annotated

from pydantic import Field

from llmservice_contract import engine_arguments as arguments
from llmservice_contract import engine_settings as rows
from llmservice_contract.choices import (
    AttentionBackend,
    Convert,
    Dtype,
    LoadFormat,
    Runner,
    SpeculativeMethod,
    StructuredOutputsBackend,
)
from llmservice_contract.source import SpecSource, parse_spec_source
from llmservice_operator.api.base import (
    RULES_KEY,
    APIType,
    ArgumentValue,
    ConfigMapKey,
    Rule,
    SubdomainName,
    WholeGiB,
    bounds,
)

BatchTimeout = Annotated[
    str,
    Field(
        pattern=rf"^[0-9]{{1,{rows.BATCH_TIMEOUT.digits}}}(ms|s)$",
        max_length=rows.BATCH_TIMEOUT.digits + len("ms"),
        json_schema_extra={
            RULES_KEY: [
                dict(
                    Rule(
                        f"duration(self) <= duration('{rows.BATCH_TIMEOUT.maximum}ms')",
                        f"batchTimeout must be at most {rows.BATCH_TIMEOUT.maximum // 1000}s; some milliseconds, such "
                        "as 20ms, are usual",
                    ).as_schema()
                )
            ]
        },
    ),
]
"""A time in whole milliseconds or seconds such as ``20ms``, at most 60s."""


_WITH_MODEL = ", ".join(f"'{method}'" for method in SpeculativeMethod if method.needs_model)


class Speculative(APIType):
    """Speculative decoding: several draft tokens are proposed cheaply, and the model verifies them in one step."""

    method: SpeculativeMethod
    """`ngram` proposes the tokens that followed the same text in the prompt. `draft` proposes the tokens of a smaller
    model with the same vocabulary. `eagle` and `eagle3` propose those of a head that was trained for this model. `mtp`
    proposes those of the model's own layers for it, such as DeepSeek V3, GLM 4.5 and Qwen3-Next have."""

    model: (
        Annotated[
            str,
            Field(
                pattern=r"^(hf|https|pvc)://[A-Za-z0-9][A-Za-z0-9._-]*(:[1-9][0-9]{0,4})?(/[A-Za-z0-9][A-Za-z0-9._-]*)+$",
                max_length=rows.SPECULATIVE_MODEL.longest,
            ),
        ]
        | None
    ) = None
    """The draft model of method draft, or the head of eagle and eagle3: a repository of the same hub as model.source,
    or a directory of the same PersistentVolumeClaim, written like model.source. Absent: none, as for ngram and mtp."""

    revision: Annotated[str, bounds(rows.SPECULATIVE_REVISION)] | None = None
    """Commit, branch or tag of the draft model's repository. As with model.revision, a branch or tag is resolved
    once, to the commit in `status.model.draftRevision`. Absent: the repository's default branch at the time when the
    service is created."""

    tokens: Annotated[int, bounds(rows.SPECULATIVE_TOKENS)] = 4
    """Number of draft tokens in one step."""

    @property
    def parsed_model(self) -> SpecSource | None:
        """The draft model. Raises BadSource."""
        return None if self.model is None else parse_spec_source(self.model)

    rules = (
        Rule(
            f"(self.method in [{_WITH_MODEL}]) == has(self.model)",
            "methods draft, eagle and eagle3 need a model, and methods ngram and mtp must have none",
            ".model",
        ),
        Rule(
            "!has(self.model) || self.model.startsWith('pvc://') || "
            "self.model.split('/').size() == (self.model.startsWith('hf://') ? 4 : 5)",
            "a draft model of a hub must be hf://ORG/NAME or https://HOST/ORG/NAME",
            ".model",
        ),
        Rule(
            "!has(self.revision) || !self.revision.contains('..')",
            "a draft model's revision must not contain two dots in a row",
            ".revision",
        ),
        Rule(
            "!has(self.revision) || (has(self.model) && !self.model.startsWith('pvc://'))",
            "only a draft model from a hub (hf:// or https://) has a revision: remove it",
            ".revision",
        ),
    )


class ConfigMapKeyReference(APIType):
    """A key of a ConfigMap of the service's own namespace."""

    name: SubdomainName
    """Name of the ConfigMap."""

    key: ConfigMapKey
    """Key in its data."""


class ChatTemplate(APIType):
    """A Jinja template that makes a prompt of a chat's messages and tools."""

    config_map_ref: ConfigMapKeyReference | None = None
    """The ConfigMap and its key with the template. Pods read it when they start: a change of the ConfigMap restarts
    none, so give the changed one another name. Absent: builtin is set."""

    builtin: Annotated[str, Field(pattern=r"^template_[a-z0-9_]+[.]jinja$", max_length=64)] | None = None
    """The file name of a template that vLLM brings along, such as `template_chatml.jinja`. Absent: configMapRef is
    set."""

    rules = (
        Rule(
            "has(self.configMapRef) != has(self.builtin)",
            "a chatTemplate has either configMapRef or builtin",
        ),
    )


class MultimodalLimits(APIType):
    """How many media one prompt may have. A kind with 0 takes no memory."""

    image: Annotated[int, bounds(rows.IMAGE_LIMIT)] | None = None
    """Images. Absent: vLLM's default, 999."""

    video: Annotated[int, bounds(rows.VIDEO_LIMIT)] | None = None
    """Videos. Absent: vLLM's default, 999."""

    audio: Annotated[int, bounds(rows.AUDIO_LIMIT)] | None = None
    """Audio clips. Absent: vLLM's default, 999."""


class Engine(APIType):
    """Settings of vLLM."""

    gpu_memory_utilization: Annotated[str, Field(pattern=r"^[0-9](\.[0-9]{1,3})?$", max_length=5)] | None = None
    """Share of each GPU's memory that vLLM uses, as a string above 0 up to 1, such as `"0.92"`. Not for
    accelerator.type cpu. Absent: vLLM's default, 0.92."""

    max_num_seqs: Annotated[int, bounds(rows.MAX_NUM_SEQS)] | None = None
    """Maximum number of requests in one batch. Absent: vLLM's default for the device."""

    max_num_batched_tokens: Annotated[int, bounds(rows.MAX_NUM_BATCHED_TOKENS)] | None = None
    """Maximum number of tokens computed in one step over all requests. Absent: vLLM's default for the device."""

    max_loras: Annotated[int, bounds(rows.MAX_LORAS)] | None = None
    """How many LoRA adapters one batch uses at the same time; requests for others wait. Each takes GPU memory for an
    adapter of maxLoraRank. A service with it has this memory even while `adapters` is empty, so that the first adapter
    needs no restart. Absent: 4 with `adapters`, none without."""

    max_lora_rank: Annotated[int, bounds(rows.MAX_LORA_RANK)] | None = None
    """Highest rank of an adapter, rounded up to 8, 16, 32, 64, 128, 256, 320 or 512. Without adapters it has no effect.
    Absent: 16."""

    prefix_caching: Annotated[bool, bounds(rows.PREFIX_CACHING)] | None = None
    """Keep and share the KV cache of equal prompt prefixes. Absent: on."""

    chunked_prefill: Annotated[bool, bounds(rows.CHUNKED_PREFILL)] | None = None
    """Compute long prompts in chunks between the steps of other requests. Absent: on, if the model allows it."""

    speculative: Speculative | None = None
    """Speculative decoding. Absent: none."""

    batch_timeout: BatchTimeout | None = None
    """How long requests to /v1/batch are collected before they are computed together, such as `20ms`; requests to other
    routes never wait. Absent: not at all."""

    attention: AttentionBackend = AttentionBackend.AUTO
    """Attention kernels. `auto`: vLLM chooses for the device."""

    kv_cache_memory: WholeGiB | None = None
    """Host memory for the KV cache, in whole GiB such as `4Gi`; only for accelerator.type cpu. Absent: 1Gi."""

    tool_call_parser: Annotated[str, bounds(rows.TOOL_CALL_PARSER)] | None = None
    """vLLM's parser of tool calls, such as `hermes`, `llama3_json` or `mistral`; clients may then let the model choose
    tools (`tool_choice: auto`). `none`: no parser. Absent: chosen by the model's architecture and chat template
    (docs/reference/parsers.md), none if these do not tell."""

    reasoning_parser: Annotated[str, bounds(rows.REASONING_PARSER)] | None = None
    """vLLM's parser that separates reasoning from the answer, such as `qwen3` or `deepseek_r1`. `none`: reasoning stays
    in the answer. Absent: chosen by the model's architecture and chat template, none if these do not tell."""

    chat_template: ChatTemplate | None = None
    """The chat template in place of the model's own, for a model that has none, for example. Absent: the model's
    own."""

    dtype: Dtype | None = None
    """Data type of weights and activations. Absent: that of the checkpoint, and bfloat16 in place of float32."""

    load_format: LoadFormat | None = None
    """How safetensors are read. `fastsafetensors` and `runai_streamer` read in parallel; `dummy` makes up weights, for
    tests of speed. Absent: safetensors; runai_streamer for `s3://`, whatever is set here."""

    runner: Runner | None = None
    """`generate` serves text, `pooling` embeddings, scores, reranking and classes. Absent: by the model's
    architecture."""

    convert: Convert | None = None
    """What a model that generates text is made into, with runner pooling: `embed` or `classify`. Absent: by the model's
    architecture."""

    multimodal_limits: MultimodalLimits | None = None
    """Media per prompt, by kind. Absent: vLLM's defaults."""

    structured_outputs_backend: StructuredOutputsBackend | None = None
    """What compiles the schemas and grammars of structured answers. Absent: vLLM's choice for each request."""

    seed: Annotated[int, bounds(rows.SEED)] | None = None
    """Seed of random numbers, for requests that name none. Absent: 0."""

    kv_offload_memory: WholeGiB | None = None
    """Host memory for cached keys and values that leave the GPUs, over all GPUs of a pod, in whole GiB such as `64Gi`;
    not for accelerator.type cpu. It adds to the memory that the pod requests. Absent: none."""

    step_timeout_seconds: Annotated[int, bounds(rows.STEP_TIMEOUT_SECONDS)] | None = None
    """How long one step of the engine (a batch of at most maxNumBatchedTokens tokens) may take. An engine that computes
    for longer without an answer hangs, and its container restarts; one that answers nothing and computes nothing is
    restarted earlier, after 30 seconds. 0: hangs are not looked for; otherwise at least 30. Absent: 300, for
    accelerator.type cpu 1800."""

    hf_overrides: Annotated[str, bounds(rows.HF_OVERRIDES)] | None = None
    """Values that replace those of the model's config.json, as a JSON object, such as
    `{"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}`. The memory estimate does not know them. Absent:
    none."""

    extra_args: Annotated[dict[str, ArgumentValue], Field(min_length=1, max_length=arguments.MOST)] | None = None
    """Further arguments of `vllm serve`, such as `block-size: 32` or `enable-dbo: "true"`: names without dashes, values
    as text or whole numbers, several values separated by spaces. docs/reference/vllm-arguments.md has every argument.
    One that a field sets, or that would open a hole, is not accepted. Absent: none."""

    env: Annotated[dict[str, ArgumentValue], Field(min_length=1, max_length=arguments.MOST)] | None = None
    """Environment variables of vLLM and its libraries, such as `NCCL_IB_HCA: mlx5_0`; only those that
    docs/reference/vllm-arguments.md lists. Absent: none."""

    rules = (
        *(
            Rule(
                f"!has(self.{field}) || self.{field}.all(name, name.size() <= {arguments.LONGEST_NAME})",
                f"a name in {field} has at most {arguments.LONGEST_NAME} characters",
                f".{field}",
            )
            for field in ("extraArgs", "env")
        ),
        Rule(
            "!has(self.gpuMemoryUtilization) || "
            f"(double(self.gpuMemoryUtilization) >= {rows.GPU_MEMORY_UTILIZATION.minimum:.3f} && "
            f"double(self.gpuMemoryUtilization) <= {rows.GPU_MEMORY_UTILIZATION.maximum:.3f})",
            'gpuMemoryUtilization must be above 0 and at most 1, such as "0.92"',
            ".gpuMemoryUtilization",
        ),
        Rule(
            "!has(self.stepTimeoutSeconds) || self.stepTimeoutSeconds == 0 || self.stepTimeoutSeconds >= 30",
            "stepTimeoutSeconds must be 0 or at least 30",
            ".stepTimeoutSeconds",
        ),
        Rule(
            "!has(self.maxNumSeqs) || self.maxNumSeqs <= 2048 || has(self.maxNumBatchedTokens)",
            "maxNumSeqs above 2048 needs maxNumBatchedTokens of at least that number: vLLM's default may be 2048",
            ".maxNumSeqs",
        ),
    )
