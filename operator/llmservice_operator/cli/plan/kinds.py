"""The kinds that a plan reads, as the command's client addresses them."""

from __future__ import annotations

from llmservice_operator.cli.object_ref import ObjectRef
from llmservice_operator.resources import kinds

CHILDREN = tuple(kind for kind in kinds.CHILDREN if kind is not kinds.POD)
"""Kinds of children. Pods are read by themselves."""


def service(namespace: str, name: str) -> ObjectRef:
    """An LLMService."""
    return ObjectRef.of(kinds.LLMSERVICE, namespace, name)


def child(kind: str, namespace: str, name: str) -> ObjectRef:
    """A child, or a pod."""
    return ObjectRef.of(kinds.named(kind), namespace, name)
