"""The catalogue: LLMModel and ClusterLLMModel, models that services name with ``spec.model.ref``.

A model of the catalogue is an identity: where the weights are, which revision, under which licence, and how services
may quantize it. It starts nothing by itself.
"""

from typing import Annotated

from pydantic import Field

from llmservice_contract import engine_settings as rows
from llmservice_contract.choices import ModelFormat, QuantizationMethod
from llmservice_operator.api.base import APIType, Bytes, Rule, bounds
from llmservice_operator.api.model import MAX_MODEL_NAME, ModelSource, SecretReference, source_rules

MODEL_NAME_RULES = (
    Rule(
        f"self.metadata.name.size() <= {MAX_MODEL_NAME}",
        f"the name of a model of the catalogue must have at most {MAX_MODEL_NAME} characters",
    ),
)
"""Rules of the whole object: they validate its name."""


class Licence(APIType):
    """The licence of the weights."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+-]*$")]
    """Name, as an SPDX identifier if it has one: `Apache-2.0`."""

    url: Annotated[str, Field(max_length=512, pattern=r"^https://[!-~]+$")] | None = None
    """Where its text is. Absent: unknown."""


class LLMModelSpec(APIType):
    """A model that services of this namespace may use."""

    source: ModelSource
    """Location of the weights, as in `spec.model.source` of an LLMService. `pvc://CLAIM/PATH` is a claim of this
    namespace."""

    revision: Annotated[str, bounds(rows.MODEL_REVISION)] | None = None
    """Commit, branch or tag of a hub's repository. Services use the commit to which it was resolved first. State the
    commit so that all services have the same one. Absent: the repository's default branch."""

    digest: Annotated[str, bounds(rows.MODEL_DIGEST)] | None = None
    """Digest that the weights must have, as `spec.model.digest` of an LLMService. `status.model.digest` of a service
    that uses the model has it. Absent: any weights of the source and revision."""

    format: ModelFormat | None = None
    """How configuration and tokenizer are stored: as `spec.model.format` of an LLMService. Absent: vLLM finds it by
    the files."""

    credentials_ref: SecretReference | None = None
    """Secret of this namespace with the credentials of the source, with the keys of `spec.model.credentialsRef` of an
    LLMService. Absent: none."""

    size: Bytes | None = None
    """Size of the weights as they are stored, such as `16Gi`. Absent: derived from the model's name, if possible."""

    quantizations: (
        Annotated[
            list[QuantizationMethod],
            Field(min_length=1, max_length=8, json_schema_extra={"x-kubernetes-list-type": "set"}),
        ]
        | None
    ) = None
    """Methods that `spec.quantization.method` of a service may name for this model, beside `auto`, which is always
    allowed. Absent: all."""

    config: Annotated[str, bounds(rows.HF_OVERRIDES)] | None = None
    """The model's config.json, or the fields of it that are known, as JSON. `kubectl llm models` estimates with it
    whether the model fits, until a service has read the source's own. The operator never uses it. Absent: not known."""

    licence: Licence | None = None
    """Licence of the weights. Absent: not stated."""

    description: Annotated[str, Field(max_length=512)] | None = None
    """What the model is for, in a sentence that `kubectl llm models` prints. Absent: none."""

    rules = tuple(source_rules())

    def is_offered_to(self, _: str) -> bool:
        """Whether services of that namespace may use the model. An LLMModel has no such limit: only its own namespace
        can name it."""
        return True


class NamespaceSelection(APIType):
    """Namespaces whose services may use a model."""

    names: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]],
        Field(max_length=256, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ]
    """Names of the namespaces. An empty list allows none."""


class ClusterLLMModelSpec(LLMModelSpec):
    """A model that the platform offers to services of all namespaces, or of some."""

    source: ModelSource
    """Location of the weights, as in `spec.model.source` of an LLMService. The platform's list of allowed sources
    (chart value `allowed.sources`) does not limit it. `pvc://CLAIM/PATH` is a claim of that name in each namespace
    that uses the model."""

    credentials_ref: SecretReference | None = None
    """Secret with the credentials of the source, with the keys of `spec.model.credentialsRef` of an LLMService. Each
    namespace that uses the model must have a Secret of that name: no Secret is read across namespaces. Absent: none."""

    namespaces: NamespaceSelection | None = None
    """Namespaces whose services may use the model. Absent: all."""

    def is_offered_to(self, namespace: str) -> bool:
        """Whether services of that namespace may use the model."""
        return self.namespaces is None or namespace in self.namespaces.names
