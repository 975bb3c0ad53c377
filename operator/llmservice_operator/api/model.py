"""What is served: the model's source, revision, names and credentials, and how its weights are quantized."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llmservice_contract import engine_settings as rows
from llmservice_contract import source as grammar
from llmservice_contract.choices import KVCacheDtype, ModelFormat, QuantizationMethod
from llmservice_operator.api.base import APIType, Bytes, Rule, SubdomainName, bounds, item_bounds, list_bounds

MAX_MODEL_NAME = 50
"""Maximum length of the name of an LLMModel or ClusterLLMModel."""


ModelSource = Annotated[str, Field(max_length=rows.MODEL_SOURCE.longest)]
"""A source; ``source_rules`` has its forms."""


class SecretReference(APIType):
    """A Secret of the service's own namespace."""

    name: SubdomainName
    """Name of the Secret."""


class CatalogueKind(StrEnum):
    """Kinds of models in the catalogue."""

    LLM_MODEL = "LLMModel"
    CLUSTER_LLM_MODEL = "ClusterLLMModel"


class ModelReference(APIType):
    """A model of the catalogue."""

    kind: CatalogueKind = CatalogueKind.LLM_MODEL
    """`LLMModel`: a model of this namespace. `ClusterLLMModel`: a model that the platform offers to namespaces."""

    name: Annotated[SubdomainName, Field(max_length=MAX_MODEL_NAME)]
    """Name of the model in the catalogue."""


def source_form_rules(*, is_optional: bool = False) -> Iterator[Rule]:
    """The rules of a source's form. ``is_optional``: whether the field may be absent."""
    absent = "!has(self.source) || " if is_optional else ""
    yield Rule(
        f"{absent}self.source.matches('^({'|'.join(grammar.SCHEMES)})://{grammar.PRINTABLE}$')",
        "a source must begin with hf://, pvc://, s3:// or https://, such as hf://Qwen/Qwen3-8B, without spaces",
        ".source",
    )
    for scheme, expression, message in (
        (
            "pvc",
            f"self.source.matches('^{grammar.CLAIM}$')",
            "a pvc source must be pvc://CLAIM or pvc://CLAIM/PATH, with a claim's name in lower case and a plain path",
        ),
        (
            "pvc",
            f"!self.source.matches('{grammar.DOTS}')",
            "the path of a pvc source must not contain . or .. as a part",
        ),
        (
            "hf",
            f"self.source.matches('^{grammar.HUB}$')",
            "a hub source must be hf://ORG/NAME, such as hf://Qwen/Qwen3-8B",
        ),
        ("s3", f"self.source.matches('^{grammar.BUCKET}$')", "an S3 source must be s3://BUCKET/PATH"),
        (
            "https",
            f"self.source.matches('^{grammar.OTHER_HUB}$')",
            "an https source must be https://HOST/ORG/NAME, a repository of the hub at that host",
        ),
    ):
        yield Rule(f"{absent}!self.source.startsWith('{scheme}://') || {expression}", message, ".source")


def source_rules(*, is_optional: bool = False) -> Iterator[Rule]:
    """The rules of a source, its revision and its credentials. ``is_optional``: whether the field may be absent."""
    absent = "!has(self.source) || " if is_optional else ""
    yield from source_form_rules(is_optional=is_optional)
    yield Rule(
        "!has(self.revision) || !self.revision.contains('..')",
        "a revision must not contain two dots in a row",
        ".revision",
    )
    yield Rule(
        f"!has(self.revision) || {absent}self.source.startsWith('hf://') || self.source.startsWith('https://')",
        "only a hub's repository (hf:// or https://) has a revision: remove it for pvc:// and s3://",
        ".revision",
    )
    yield Rule(
        f"!has(self.digest) || {absent}!self.source.startsWith('pvc://')",
        "the files of a pvc source have no digest: remove it",
        ".digest",
    )
    yield Rule(
        f"!has(self.credentialsRef) || {absent}!self.source.startsWith('pvc://')",
        "a pvc source needs no credentials: remove credentialsRef",
        ".credentialsRef",
    )


class Model(APIType):
    """The model to serve: its source, or a model of the catalogue."""

    source: ModelSource = ""
    """Location of the weights. `pvc://CLAIM/PATH` is a directory in a PersistentVolumeClaim of this namespace,
    mounted read-only; `hf://ORG/NAME` is a repository of the Hugging Face hub; `s3://BUCKET/PATH` is streamed from
    S3; `https://HOST/ORG/NAME` is a repository of a hub at that host. vLLM itself loads the weights. Absent: that of
    `ref`."""

    ref: ModelReference | None = None
    """A model of the catalogue (LLMModel or ClusterLLMModel), in place of `source`, `revision`, `digest`,
    `format`, `credentialsRef` and `size`, which that model has. If the model's spec changes, the change rolls out to
    the service like a change of the service's own spec. Absent: `source` is the model."""

    revision: Annotated[str, bounds(rows.MODEL_REVISION)] | None = None
    """Commit, branch or tag of a hub's repository. A branch or tag is resolved once, to the commit in
    `status.model.revision`, which all replicas use until source or revision change here. Absent: the repository's
    default branch at the time when the service is created."""

    format: ModelFormat | None = None
    """How configuration and tokenizer are stored. `hf`: config.json. `mistral`: params.json, tekken.json and
    consolidated*.safetensors, as Mistral publishes them. Absent: vLLM finds it by the files."""

    digest: Annotated[str, bounds(rows.MODEL_DIGEST)] | None = None
    """Digest that the weights must have, such as that in `status.model.digest`: it is made of what a hub or S3 states
    of each `*.safetensors`. Other weights are refused before a pod exists, and at each start. Absent: any weights of
    the source and revision."""

    served_names: (
        Annotated[
            list[Annotated[str, item_bounds(rows.SERVED_NAMES)]],
            list_bounds(rows.SERVED_NAMES),
        ]
        | None
    ) = None
    """Names by which clients request the model; responses carry the first. Absent: the name of this LLMService."""

    credentials_ref: SecretReference | None = None
    """Secret with the credentials of the source: key `HF_TOKEN` for a hub, with `HF_ENDPOINT` (`https://HOST`) if that
    is not the Hugging Face hub, because a token is sent only to the hub that it names; `AWS_ACCESS_KEY_ID` and
    `AWS_SECRET_ACCESS_KEY`, and if needed `AWS_ENDPOINT_URL`, `AWS_REGION` and `AWS_SESSION_TOKEN`, for S3; with
    `serviceAccountName` it needs no keys. Absent: none."""

    max_context_length: Annotated[int, bounds(rows.MAX_CONTEXT_LENGTH)] | None = None
    """Maximum length of prompt plus answer, in tokens. Absent: the maximum of the model's configuration."""

    size: Bytes | None = None
    """Size of the weights as they are stored, such as `16Gi`. It sets how long loading may take before a start
    counts as failed, and the limits of a pod's disk and memory. Absent: derived from the model's name (`8B`) if
    possible, else from the GPUs' memory."""

    @property
    def parsed_source(self) -> grammar.SpecSource:
        """The source. Raises BadSource."""
        return grammar.parse_spec_source(self.source)

    rules = (
        Rule(
            "has(self.source) != has(self.ref)",
            "a model has either a source, such as hf://Qwen/Qwen3-8B, or a ref to a model of the catalogue",
        ),
        Rule(
            "!has(self.ref) || (!has(self.revision) && !has(self.digest) && !has(self.format) && "
            "!has(self.credentialsRef) && !has(self.size))",
            "revision, digest, format, credentialsRef and size are those of the model in ref: remove them",
            ".ref",
        ),
        *source_rules(is_optional=True),
    )


class Quantization(APIType):
    """How weights and KV cache are quantized."""

    method: QuantizationMethod = QuantizationMethod.AUTO
    """`auto`: the method of the checkpoint. `none`: 16 bits; a quantized checkpoint is refused. `fp8`: a 16-bit
    checkpoint is quantized while it loads. `int8` and `int4` need a compressed-tensors checkpoint, `awq` and `gptq` one
    of that kind; any other checkpoint is refused with the reason. A CPU has no kernels for 4 bits without AVX-512 and
    for `fp8` of a 16-bit checkpoint, which are refused as well."""

    kv_cache_dtype: KVCacheDtype = KVCacheDtype.AUTO
    """Data type of the KV cache. `auto`: the model's data type. fp8 halves its memory."""
