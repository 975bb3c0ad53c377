"""The digest of a model's weights, from what their source states of each file, without a download.

A hub states the SHA-256 of each large file, S3 the ETag of each object, which changes with its content. The digest is
the SHA-256 of these, sorted by name, so any changed, added or removed file of weights changes it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from llmservice_contract import causes
from llmservice_contract.source import Directory, ObjectPrefix, Source
from llmservice_runtime.model import bucket, hub
from llmservice_runtime.model.unreadable import ModelUnreadable

PREFIX = "sha256:"
FIELD = "spec.model.digest"
_STATED = re.compile(r"[!-~]{1,200}")
"""What a server may state of a file."""


def of_files(stated: Mapping[str, str | None]) -> str | None:
    """The digest of the weights among these files, by what is stated of each; None if there are none, or if nothing is
    stated of one of them."""
    weights = {name: text for name, text in stated.items() if name.endswith(".safetensors") and "/" not in name}
    total = hashlib.sha256()
    for name, text in sorted(weights.items()):
        if text is None or not _STATED.fullmatch(text):
            return None
        total.update(f"{len(name.encode(errors='replace'))} {name} {text}\n".encode(errors="replace"))
    return PREFIX + total.hexdigest() if weights else None


def check(wanted: str | None, found: str | None, where: str) -> None:
    """Raises ModelUnreadable if the weights are not those with the digest ``wanted``; None: any weights are."""
    if wanted is None or wanted == found:
        return
    said = (
        f"the files of {where} have the digest {found}"
        if found is not None
        else f"{where} does not state a digest of each of its *.safetensors"
    )
    raise ModelUnreadable(
        causes.DIGEST_MISMATCH,
        f"The weights must have the digest {wanted}, but {said}.",
        field=FIELD,
        fix="Find out who changed the weights. If the change is wanted, put the new digest into the field; otherwise "
        "restore the files."
        if found is not None
        else f"Remove {FIELD}, or use a hub or a bucket that states it.",
    )


def check_source(source: Source, revision: str | None, wanted: str | None) -> None:
    """As ``check``, for the weights as the source states them now. Raises ModelUnreadable, also if it can't be asked.
    Offline, the files of a commit are those that were checked when it was fetched."""
    if wanted is None or (hub.is_offline() and not isinstance(source, ObjectPrefix | Directory)):
        return
    match source:
        case Directory(path):
            check(wanted, None, path)
        case ObjectPrefix(url):
            check(wanted, of_files(bucket.weights_stated(source)), url)
        case _:
            check(wanted, of_files(hub.listing(source, revision).stated), source.name)
