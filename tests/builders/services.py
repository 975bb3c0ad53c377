"""Builders of LLMServices for tests: `a_service("chat").from_source("hf://org/model").on_cpu().build()`.

Builders are immutable: each step returns a new one, so that a common prefix can be shared.
"""

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from llmservice_operator.api import GROUP, KIND, VERSION

Spec = dict[str, Any]

FIVE_LINES = f"""\
apiVersion: {GROUP}/{VERSION}
kind: {KIND}
metadata: {{name: chat}}
spec:
  model: {{source: pvc://models/chat}}
"""
"""The shortest valid service, as a user writes it."""

COMMIT = "0123456789abcdef0123456789abcdef01234567"
"""A revision that can't move: pods of a service at it wait for no Job to find its commit."""


@dataclasses.dataclass(frozen=True)
class ServiceBuilder:
    """An LLMService in the making; ``build()`` gives it as the API server's JSON has it."""

    metadata: Mapping[str, Any]
    spec: Mapping[str, Any]
    status: Mapping[str, Any] | None = None

    def from_source(self, source: str, revision: str | None = None) -> Self:
        """Serving the model at this source."""
        model = {"source": source} if revision is None else {"source": source, "revision": revision}
        return self.with_spec(model=model)

    def from_catalogue(self, name: str, kind: str | None = None) -> Self:
        """Serving this model of the catalogue."""
        ref = {"name": name} if kind is None else {"name": name, "kind": kind}
        return dataclasses.replace(self, spec={**self.spec, "model": {"ref": ref}})

    def on_cpu(self) -> Self:
        """Computing on CPUs."""
        return self.with_spec(accelerator={"type": "cpu"})

    def on(self, *products: str) -> Self:
        """Computing on GPUs of these products."""
        return self.with_spec(accelerator={"products": list(products)})

    def spread_over(self, tensor: int = 1, pipeline: int = 1, nodes: int | None = None) -> Self:
        """Each replica on tensor x pipeline devices, of so many nodes."""
        on_nodes = {} if nodes is None else {"nodesPerReplica": nodes}
        return self.with_spec(parallelism={"tensor": tensor, "pipeline": pipeline, **on_nodes})

    def with_replicas(self, replicas: int) -> Self:
        """With this many replicas; a service has none said otherwise."""
        return self.with_spec(replicas=replicas)

    def scaled(self, least: int = 1, most: int = 8, **more: Any) -> Self:
        """Scaled between these bounds for a p99 of 200 ms to the first token."""
        targets = {"timeToFirstToken": {"p99": "200ms"}}
        return self.with_spec(scaling={"minReplicas": least, "maxReplicas": most, "targets": targets, **more})

    def with_keys(self, secret: str = "chat-keys", **access: Any) -> Self:
        """Open to the keys of this Secret alone."""
        return self.with_spec(access={"apiKeys": {"secretRef": {"name": secret}}, **access})

    def with_spec(self, **fragment: Any) -> Self:
        """With this merged into the spec: mappings key by key, anything else in place of what was there."""
        return dataclasses.replace(self, spec=merged(self.spec, fragment))

    def with_metadata(self, **fragment: Any) -> Self:
        """With this merged into the metadata, as the API server's JSON names it."""
        return dataclasses.replace(self, metadata=merged(self.metadata, fragment))

    def of_generation(self, generation: int) -> Self:
        """Whose spec was changed this often."""
        return self.with_metadata(generation=generation)

    def being_deleted(self, at: str = "2026-01-01T00:00:00Z") -> Self:
        """With a deletion timestamp."""
        return self.with_metadata(deletionTimestamp=at)

    def with_status(self, status: Mapping[str, Any]) -> Self:
        """With this status, whole."""
        return dataclasses.replace(self, status=status)

    def read(self) -> Self:
        """Whose model has been read: its heads and layers can be shared by many."""
        source, revision = self.spec["model"]["source"], self.spec["model"].get("revision")
        facts = {"attentionHeads": 64, "keyValueHeads": 64, "layers": 64}
        key = f"{source}@{revision}" if revision else source
        return self.with_status({**(self.status or {}), "model": {"source": key, **facts}})

    def build(self) -> dict[str, Any]:
        """The object: a copy of its own."""
        found = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "metadata": self.metadata,
            "spec": self.spec,
        }
        if self.status is not None:
            found["status"] = self.status
        return copy.deepcopy(found)


def a_service(name: str = "chat", namespace: str | None = None, *, uid: str | None = None) -> ServiceBuilder:
    """A service of five lines: a model in a volume claim, everything else left to its default."""
    given = {"name": name, "namespace": namespace, "uid": uid}
    return ServiceBuilder(
        metadata={key: value for key, value in given.items() if value is not None},
        spec={"model": {"source": "pvc://models/chat"}},
    )


def merged(base: Mapping[str, Any], fragment: Mapping[str, Any]) -> dict[str, Any]:
    """The base with the fragment over it: mappings are merged, everything else is replaced."""
    result = dict(copy.deepcopy(base))
    for key, value in copy.deepcopy(dict(fragment)).items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result
