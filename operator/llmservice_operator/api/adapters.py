"""LoRA adapters that are served with the model, each under a name of its own."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from llmservice_contract import adapters as contract
from llmservice_contract.source import SpecSource, parse_spec_source
from llmservice_operator.api.base import APIType, Rule
from llmservice_operator.api.model import source_form_rules


class Adapter(APIType):
    """A LoRA adapter in the format of PEFT: `adapter_config.json` and `adapter_model.safetensors`."""

    name: Annotated[str, Field(min_length=1, max_length=contract.LONGEST_NAME, pattern=f"^{contract.NAME}$")]
    """Name by which clients request the model with this adapter."""

    source: Annotated[str, Field(max_length=contract.LONGEST_SOURCE)]
    """Location of the adapter, written like `model.source`: a repository of a hub (of the same hub if the model is in
    one), a directory of the model's PersistentVolumeClaim, or a path in S3 if the model is in S3. It is read with the
    credentials of the model."""

    revision: Annotated[str, Field(pattern=f"^{contract.COMMIT}$", max_length=40)] | None = None
    """Commit of a hub's repository, 40 hexadecimal digits, so that all replicas serve the same weights. Absent:
    none, as for `pvc://` and `s3://`."""

    @property
    def parsed_source(self) -> SpecSource:
        """The source. Raises BadSource."""
        return parse_spec_source(self.source)

    rules = (
        *source_form_rules(),
        Rule(
            "has(self.revision) == (self.source.startsWith('hf://') || self.source.startsWith('https://'))",
            "an adapter of a hub (hf:// or https://) needs its commit as revision, 40 hexadecimal digits, and one of "
            "pvc:// or s3:// must have none",
            ".revision",
        ),
    )


def adapter_rules() -> Iterator[Rule]:
    """Rules of the whole spec."""
    each = "!has(self.adapters) || self.adapters.all(each, "
    yield Rule(
        "!has(self.adapters) || !has(self.model.servedNames) || "
        "!self.adapters.exists(each, each.name in self.model.servedNames)",
        "an adapter must have another name than the model: model.servedNames has it",
        ".adapters",
    )
    yield Rule(
        f"{each}!has(self.model.source) || !each.source.startsWith('pvc://') || (each.source.split('/')[2] == "
        "self.model.source.split('/')[2] && self.model.source.startsWith('pvc://')))",
        "an adapter in a pvc:// must be in the same pvc://CLAIM as model.source",
        ".adapters",
    )
    yield Rule(
        f"{each}!has(self.model.source) || !each.source.startsWith('s3://') || self.model.source.startsWith('s3://'))",
        "an adapter in s3:// needs a model in s3://, because it is read with the credentials of the model",
        ".adapters",
    )
    yield Rule(
        f"{each}!has(self.model.source) || self.model.source.startsWith('pvc://') || "
        "self.model.source.startsWith('s3://') || each.source.startsWith('pvc://') || "
        "each.source.startsWith('s3://') || (each.source.split('/')[0] == self.model.source.split('/')[0] && "
        "(each.source.startsWith('hf://') || each.source.split('/')[2] == self.model.source.split('/')[2])))",
        "an adapter of a hub must be in the same hub as model.source, because it is read with the model's token",
        ".adapters",
    )
    yield Rule(
        "!(has(self.adapters) || (has(self.engine) && has(self.engine.maxLoras))) || !has(self.parallelism) || "
        "!has(self.parallelism.nodesPerReplica) || self.parallelism.nodesPerReplica == 1",
        "adapters need nodesPerReplica 1: their files are fetched by one pod of a replica",
        ".adapters",
    )


def in_place_of(adapter: str, model: str) -> str | None:
    """Why an adapter with this source can't be served with a model of that source; None if it can. As the rules of the
    CRD, for a model of the catalogue."""
    ours, theirs = adapter.split("/"), model.split("/")
    scheme, of_model = ours[0], theirs[0]
    if scheme == "pvc:":
        return None if ours[:3] == theirs[:3] else "an adapter in a pvc:// must be in the same pvc://CLAIM as the model"
    if scheme == "s3:":
        return None if of_model == "s3:" else "an adapter in s3:// needs a model in s3://"
    if of_model in ("pvc:", "s3:") or (scheme == of_model and (scheme == "hf:" or ours[2] == theirs[2])):
        return None
    return "an adapter of a hub must be in the same hub as the model"
