"""The CustomResourceDefinitions, built from the types; ``manifest()`` returns the content of a file in crds/."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import yaml

from llmservice_operator.api import (
    CLUSTER_MODEL_KIND,
    CLUSTER_MODEL_PLURAL,
    GROUP,
    KIND,
    MODEL_KIND,
    MODEL_PLURAL,
    PLURAL,
    SINGULAR,
    VERSION,
)
from llmservice_operator.api.base import APIType, Rule
from llmservice_operator.api.catalogue import MODEL_NAME_RULES, ClusterLLMModelSpec, LLMModelSpec
from llmservice_operator.api.openapi import Schema, structural
from llmservice_operator.api.service import NAME_RULES, LLMServiceSpec
from llmservice_operator.api.status import LLMServiceStatus

SHORT_NAMES = ("llms",)
CATEGORIES = ("llm",)

_HEADER = """\
# Printed by `python -m llmservice_operator crd {plural}` from the types in llmservice_operator.api.
# Change those and print it again; `make check` compares.
"""

_DESCRIPTION = (
    "A large language model, served by vLLM behind an OpenAI-compatible API: which model, how it is quantized and "
    "spread over GPUs, and how many replicas. Only spec.model.source is required."
)
_API_VERSION = (
    "Version of the API that this object is written in, such as llmservice.dev/v1alpha1. "
    "More: https://kubernetes.io/docs/concepts/overview/kubernetes-api/"
)
_KIND = "Kind of this object: {kind}."


def _column(name: str, path: str, description: str, kind: str = "string", wide: bool = False) -> dict[str, Any]:
    column = {"name": name, "type": kind, "description": description, "jsonPath": path}
    return {**column, "priority": 1} if wide else column


_READY = '.status.conditions[?(@.type=="Ready")]'

_COLUMNS = (
    _column("Ready", f"{_READY}.status", "Whether the service is Ready."),
    _column("Reason", f"{_READY}.reason", "Reason of the condition Ready."),
    _column("Model", ".spec.model.source", "Source of the model, if it is not of the catalogue."),
    _column("Replicas", ".status.replicas", "Replicas that exist.", kind="integer"),
    _column("GPUs", ".status.gpus", "Devices that the service requests.", kind="integer"),
    _column("Age", ".metadata.creationTimestamp", "Time since it was created.", kind="date"),
    _column("Ref", ".spec.model.ref.name", "Name of the model in the catalogue.", wide=True),
    _column("Address", ".status.address", "URL for clients inside the cluster.", wide=True),
    _column("Accelerator", ".spec.accelerator.type", "Type of device; absent for nvidia.", wide=True),
    _column("Message", f"{_READY}.message", "What is wrong, and what to do.", wide=True),
)
_MODEL_COLUMNS = (
    _column("Source", ".spec.source", "Source of the model."),
    _column("Revision", ".spec.revision", "Revision in the spec."),
    _column("Licence", ".spec.licence.name", "Licence of the weights."),
    _column("Age", ".metadata.creationTimestamp", "Time since it was created.", kind="date"),
    _column("Description", ".spec.description", "What the model is for.", wide=True),
)


@dataclasses.dataclass(frozen=True)
class Definition:
    """One CustomResourceDefinition."""

    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    description: str
    spec: type[APIType]
    status: type[APIType] | None
    columns: tuple[dict[str, Any], ...]
    rules: tuple[Rule, ...]
    """Rules of the whole object."""
    namespaced: bool = True
    scale: Mapping[str, str] | None = None
    """The scale subresource; None if it has none."""


LLMSERVICE = Definition(
    KIND,
    PLURAL,
    SINGULAR,
    SHORT_NAMES,
    _DESCRIPTION,
    LLMServiceSpec,
    LLMServiceStatus,
    _COLUMNS,
    NAME_RULES,
    scale={
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    },
)
LLM_MODEL = Definition(
    MODEL_KIND,
    MODEL_PLURAL,
    "llmmodel",
    ("llmm",),
    "A model of the catalogue for services of its namespace, which name it in spec.model.ref.",
    LLMModelSpec,
    None,
    _MODEL_COLUMNS,
    MODEL_NAME_RULES,
)
CLUSTER_LLM_MODEL = Definition(
    CLUSTER_MODEL_KIND,
    CLUSTER_MODEL_PLURAL,
    "clusterllmmodel",
    ("cllmm",),
    "A model of the platform's catalogue, for services of all namespaces or of some, which name it in spec.model.ref.",
    ClusterLLMModelSpec,
    None,
    _MODEL_COLUMNS,
    MODEL_NAME_RULES,
    namespaced=False,
)
DEFINITIONS = {each.plural: each for each in (LLMSERVICE, LLM_MODEL, CLUSTER_LLM_MODEL)}
"""All definitions, by plural."""


def custom_resource_definition(which: Definition = LLMSERVICE) -> dict[str, Any]:
    """The CRD as an object, in the order of the printed file."""
    subresources: dict[str, Any] = {"status": {}} if which.status is not None else {}
    if which.scale is not None:
        subresources["scale"] = dict(which.scale)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{which.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "categories": list(CATEGORIES),
                "kind": which.kind,
                "listKind": f"{which.kind}List",
                "plural": which.plural,
                "shortNames": list(which.short_names),
                "singular": which.singular,
            },
            "scope": "Namespaced" if which.namespaced else "Cluster",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": [dict(column) for column in which.columns],
                    **({"subresources": subresources} if subresources else {}),
                    "schema": {"openAPIV3Schema": root_schema(which)},
                }
            ],
        },
    }


def root_schema(which: Definition = LLMSERVICE) -> Schema:
    """The schema of a whole object."""
    return {
        "description": which.description,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"description": _API_VERSION, "type": "string"},
            "kind": {"description": _KIND.format(kind=which.kind), "type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(which.spec),
            **({"status": structural(which.status)} if which.status is not None else {}),
        },
        "x-kubernetes-validations": [rule.as_schema() for rule in which.rules],
    }


def manifest(plural: str = PLURAL) -> str:
    """The CRD as YAML. The same types give the same text. Raises KeyError for an unknown plural."""
    definition = custom_resource_definition(DEFINITIONS[plural])
    text: str = yaml.dump(definition, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return _HEADER.format(plural=plural) + text


class _Dumper(yaml.SafeDumper):
    """Long texts as folded blocks, no anchors, lists indented under their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = ">" if len(text) > 80 and " " in text else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)
