"""How vLLM runs: memory, batching, caching, attention and speculation."""

from typing import Annotated

from pydantic import Field

from llmservice_contract import engine_arguments as arguments
from llmservice_contract import engine_settings as rows
from llmservice_contract.choices import AttentionBackend, SpeculativeMethod
from llmservice_contract.source import SpecSource, parse_spec_source
from llmservice_operator.api.base import RULES_KEY, APIType, ArgumentValue, Rule, WholeGiB, bounds

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


class Speculative(APIType):
    """Speculative decoding: several draft tokens are proposed cheaply, and the model verifies them in one step."""

    method: SpeculativeMethod
    """`ngram` proposes the tokens that followed the same text in the prompt. `draft` proposes the tokens of a smaller
    model with the same vocabulary."""

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
    """The draft model of method draft: a repository of the same hub as model.source, or a directory of the same
    PersistentVolumeClaim, written like model.source. Absent: none, as for ngram."""

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
            "(self.method == 'draft') == has(self.model)",
            "method draft needs a model, and method ngram must have none",
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


class Engine(APIType):
    """Settings of vLLM."""

    gpu_memory_utilization: Annotated[str, Field(pattern=r"^[0-9](\.[0-9]{1,3})?$", max_length=5)] | None = None
    """Share of each GPU's memory that vLLM uses, as a string above 0 up to 1, such as `"0.92"`. Not for
    accelerator.type cpu. Absent: vLLM's default, 0.92."""

    max_num_seqs: Annotated[int, bounds(rows.MAX_NUM_SEQS)] | None = None
    """Maximum number of requests in one batch. Absent: vLLM's default for the device."""

    max_num_batched_tokens: Annotated[int, bounds(rows.MAX_NUM_BATCHED_TOKENS)] | None = None
    """Maximum number of tokens computed in one step over all requests. Absent: vLLM's default for the device."""

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
            "!has(self.maxNumSeqs) || self.maxNumSeqs <= 2048 || has(self.maxNumBatchedTokens)",
            "maxNumSeqs above 2048 needs maxNumBatchedTokens of at least that number: vLLM's default may be 2048",
            ".maxNumSeqs",
        ),
    )
