"""Common parts of rendered objects: owner, metadata, and the fingerprint of their content."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from llmservice_operator.api import GROUP, KIND, VERSION
from llmservice_operator.resources import names


@dataclasses.dataclass(frozen=True)
class Owner:
    """The service that an object is rendered for."""

    name: str
    namespace: str
    uid: str

    def reference(self) -> dict[str, Any]:
        """The owner reference of a child, so that the garbage collector deletes it with the service."""
        return {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }


def metadata(owner: Owner, name: str, component: str) -> dict[str, Any]:
    """Metadata of a child."""
    return {
        "name": name,
        "namespace": owner.namespace,
        "labels": names.labels(owner.name, component),
        "ownerReferences": [owner.reference()],
    }


def canonical(content: Any) -> str:
    """``content`` as JSON. Equal content gives equal text."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def fingerprint(desired: Mapping[str, Any]) -> str:
    """SHA-256 of a desired object, as hex, without its own annotation."""
    meta = {key: value for key, value in desired["metadata"].items() if key != "annotations"}
    annotations = {
        key: value
        for key, value in desired["metadata"].get("annotations", {}).items()
        if key != names.APPLIED_ANNOTATION
    }
    bare = {**desired, "metadata": {**meta, **({"annotations": annotations} if annotations else {})}}
    return hashlib.sha256(canonical(bare).encode()).hexdigest()


def sealed(desired: dict[str, Any]) -> dict[str, Any]:
    """``desired`` with its fingerprint as an annotation."""
    meta = {**desired["metadata"]}
    meta["annotations"] = {**meta.get("annotations", {}), names.APPLIED_ANNOTATION: fingerprint(desired)}
    return {**desired, "metadata": meta}
