"""The kinds that a plan reads, as the command's client addresses them."""

from __future__ import annotations

from llmservice_operator.cli.client import Thing
from llmservice_operator.resources import kinds

CHILDREN = tuple(kind for kind in kinds.CHILDREN if kind is not kinds.POD)
"""Kinds of children. Pods are read by themselves."""


def service(namespace: str, name: str) -> Thing:
    """An LLMService."""
    return Thing.of(kinds.LLMSERVICE, namespace, name)


def child(kind: str, namespace: str, name: str) -> Thing:
    """A child, or a pod."""
    return Thing.of(kinds.named(kind), namespace, name)
