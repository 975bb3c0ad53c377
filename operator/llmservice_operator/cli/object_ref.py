"""One object of the API server, by name, and its paths."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from llmservice_operator.resources import kinds
from llmservice_operator.resources.kinds import Kind


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One object, by name."""

    api: str
    """Path of its API, such as /api/v1."""
    kind: str
    plural: str
    namespace: str
    """Empty if it is not namespaced."""
    name: str
    subresource: str = ""
    """Path below it, such as ``log``."""

    @classmethod
    def of(cls, kind: Kind, namespace: str, name: str) -> ObjectRef:
        """The object of that kind and name."""
        return cls(kind.root, kind.kind, kind.plural, namespace, name)

    def __str__(self) -> str:
        what = f"{self.kind} {self.name}" if self.name else self.plural
        return what + (f" in namespace {self.namespace}" if self.namespace else " of all namespaces")

    @property
    def right(self) -> str:
        """The resource that a Role names to grant access."""
        return "/".join(part for part in (self.plural, self.subresource.partition("/")[0]) if part)

    @property
    def collection(self) -> str:
        """Path of the objects of its kind."""
        inside = f"/namespaces/{quote(self.namespace, safe='')}" if self.namespace else ""
        return f"{self.api}{inside}/{self.plural}"

    @property
    def path(self) -> str:
        """Its own path."""
        below = f"/{self.subresource}" if self.subresource else ""
        return f"{self.collection}/{quote(self.name, safe='')}{below}"


CHILDREN = tuple(kind for kind in kinds.CHILDREN if kind is not kinds.POD)
"""Kinds of children. Pods are read by themselves."""


def service(namespace: str, name: str) -> ObjectRef:
    """An LLMService."""
    return ObjectRef.of(kinds.LLMSERVICE, namespace, name)


def child(kind: str, namespace: str, name: str) -> ObjectRef:
    """A child, or a pod."""
    return ObjectRef.of(kinds.named(kind), namespace, name)
