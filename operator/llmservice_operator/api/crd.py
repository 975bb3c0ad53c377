"""The CustomResourceDefinition, built from the types; ``manifest()`` returns the content of the file in crds/."""

from typing import Any

import yaml

from llmservice_operator.api import GROUP, KIND, PLURAL, SINGULAR, VERSION
from llmservice_operator.api.openapi import Schema, structural
from llmservice_operator.api.service import NAME_RULES, LLMServiceSpec
from llmservice_operator.api.status import LLMServiceStatus

SHORT_NAMES = ("llms",)
CATEGORIES = ("llm",)

_HEADER = """\
# Printed by `python -m llmservice_operator crd` from the types in llmservice_operator.api.
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
_KIND = "Kind of this object: LLMService."


def _column(name: str, path: str, description: str, kind: str = "string", wide: bool = False) -> dict[str, Any]:
    column = {"name": name, "type": kind, "description": description, "jsonPath": path}
    return {**column, "priority": 1} if wide else column


_READY = '.status.conditions[?(@.type=="Ready")]'

_COLUMNS = (
    _column("Ready", f"{_READY}.status", "Whether the service is Ready."),
    _column("Reason", f"{_READY}.reason", "Reason of the condition Ready."),
    _column("Model", ".spec.model.source", "Source of the model."),
    _column("Replicas", ".status.replicas", "Replicas that exist.", kind="integer"),
    _column("GPUs", ".status.gpus", "Devices that the service requests.", kind="integer"),
    _column("Age", ".metadata.creationTimestamp", "Time since it was created.", kind="date"),
    _column("Address", ".status.address", "URL for clients inside the cluster.", wide=True),
    _column("Accelerator", ".spec.accelerator.type", "Type of device; absent for nvidia.", wide=True),
    _column("Message", f"{_READY}.message", "What is wrong, and what to do.", wide=True),
)


def custom_resource_definition() -> dict[str, Any]:
    """The CRD as an object, in the order of the printed file."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "categories": list(CATEGORIES),
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "shortNames": list(SHORT_NAMES),
                "singular": SINGULAR,
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": [dict(column) for column in _COLUMNS],
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "schema": {"openAPIV3Schema": root_schema()},
                }
            ],
        },
    }


def root_schema() -> Schema:
    """The schema of a whole LLMService."""
    return {
        "description": _DESCRIPTION,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"description": _API_VERSION, "type": "string"},
            "kind": {"description": _KIND, "type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(LLMServiceSpec),
            "status": structural(LLMServiceStatus),
        },
        "x-kubernetes-validations": [rule.as_schema() for rule in NAME_RULES],
    }


def manifest() -> str:
    """The CRD as YAML. The same types give the same text."""
    text: str = yaml.dump(custom_resource_definition(), Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return _HEADER + text


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
