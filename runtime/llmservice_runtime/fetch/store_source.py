"""The objects below a prefix of an S3 store.

boto3 finds the keys of the pod and signs. The requests are the client's own, so that their addresses are checked and
they are sent again like all others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

# Expat 2.4.1 and later bound the expansion of entities.
from xml.etree import ElementTree

from llmservice_contract.source import ObjectPrefix
from llmservice_runtime.fetch.client import Client
from llmservice_runtime.fetch.remote_file import MOST_FILES, RemoteFile
from llmservice_runtime.model.unreadable import one_line

MOST_ANSWER = 4 << 20
MOST_PAGES = 10
LINK_SECONDS = 3600
"""How long a signed URL holds. Each request has its own."""
Sign = Callable[[str, Mapping[str, Any]], str]
"""The signed URL of an operation of S3 with its parameters."""


def signer(environ: Mapping[str, str]) -> Sign:
    """Signs with the pod's keys or its role. Raises ImportError without boto3."""
    import boto3
    from botocore.config import Config

    style = {"addressing_style": "path"} if environ.get("RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING") == "0" else {}
    client = boto3.client("s3", config=Config(signature_version="s3v4", s3=style))

    def sign(operation: str, parameters: Mapping[str, Any]) -> str:
        return str(client.generate_presigned_url(operation, Params=dict(parameters), ExpiresIn=LINK_SECONDS))

    return sign


def endpoint(source: ObjectPrefix, sign: Sign) -> str:
    """Scheme, host and port that requests for the source go to."""
    bucket, _ = place(source)
    parts = urlsplit(sign("list_objects_v2", {"Bucket": bucket}))
    return f"{parts.scheme}://{parts.netloc}"


def place(source: ObjectPrefix) -> tuple[str, str]:
    """The bucket and the key prefix."""
    bucket, _, prefix = source.url.removeprefix("s3://").partition("/")
    return bucket, f"{prefix.strip('/')}/"


async def list_objects(client: Client, source: ObjectPrefix, sign: Sign) -> tuple[str, list[RemoteFile]]:
    """The revision and the files; the revision is a digest of names, sizes and entity tags, so a changed object is
    another revision. Raises ModelUnreadable."""
    bucket, prefix = place(source)
    found: list[tuple[str, int, str]] = []
    token: str | None = None
    for _ in range(MOST_PAGES):
        more = {"ContinuationToken": token} if token else {}
        url = sign("list_objects_v2", {"Bucket": bucket, "Prefix": prefix, "MaxKeys": 1000, **more})
        page = _page(client, await client.read(url, MOST_ANSWER))
        found += [(key.removeprefix(prefix), size, tag) for key, size, tag in _objects(page)]
        token = _text(page, "NextContinuationToken")
        if not token or len(found) > MOST_FILES:
            break
    files = [
        RemoteFile(
            name,
            size,
            partial(sign, "get_object", {"Bucket": bucket, "Key": f"{prefix}{name}"}),
            headers={"If-Match": tag} if tag else {},
        )
        for name, size, tag in found
        if name and not name.endswith("/")
    ]
    revision = hashlib.sha256(repr(sorted(found)).encode()).hexdigest()[:40]
    return revision, files


def _page(client: Client, content: bytes) -> ElementTree.Element:
    if b"<!" in content[:1024]:
        raise client.refusal("The store's answer is not a list of objects.")
    try:
        root = ElementTree.fromstring(content)  # noqa: S314
    except ElementTree.ParseError as error:
        raise client.refusal(f"The store's answer is not a list of objects: {one_line(error)}.") from None
    for each in root.iter():
        each.tag = each.tag.rpartition("}")[2]
    return root


def _objects(page: ElementTree.Element) -> Iterator[tuple[str, int, str]]:
    for each in page.findall("Contents"):
        key, size = _text(each, "Key"), _text(each, "Size")
        if key and size and size.isdecimal() and len(size) < 18:
            yield key, int(size), _text(each, "ETag") or ""


def _text(element: ElementTree.Element, name: str) -> str | None:
    found = element.find(name)
    return found.text if found is not None else None
