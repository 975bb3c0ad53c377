"""Where a model lies, in the forms that vLLM itself loads from.

vLLM takes a directory, a hub's repository, or an S3 prefix whose safetensors the Run:ai streamer reads. It knows no
`https://` argument: such a source is a repository of another hub, whose address goes into HF_ENDPOINT.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


class BadSource(ValueError):
    """Not a source; its text says what is."""


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory that the container sees."""

    path: str

    @property
    def argument(self) -> str:
        """What `vllm serve` takes for it."""
        return self.path


@dataclass(frozen=True, slots=True)
class Repository:
    """A hub's repository; `endpoint` is the hub's address, None for the Hugging Face hub."""

    name: str
    endpoint: str | None = None

    @property
    def argument(self) -> str:
        """What `vllm serve` takes for it."""
        return self.name


@dataclass(frozen=True, slots=True)
class ObjectPrefix:
    """All objects of an S3 bucket below a prefix."""

    url: str

    @property
    def argument(self) -> str:
        """What `vllm serve` takes for it."""
        return self.url


Source = Directory | Repository | ObjectPrefix


def parse_source(text: str) -> Source:
    """The source that `text` names. Raises BadSource."""
    if text.startswith("/"):
        return Directory(text)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return _repository(text, text)
    match scheme:
        case "hf":
            return _repository(rest, text)
        case "https":
            return _hub(text)
        case "s3":
            if re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.+", rest):
                return ObjectPrefix(text.rstrip("/"))
            raise BadSource("an S3 source is s3://BUCKET/PATH")
    raise BadSource(
        f"{scheme}:// is unknown; use an absolute path, hf://ORG/NAME, https://HOST/ORG/NAME or s3://BUCKET/PATH"
    )


def _repository(name: str, text: str) -> Repository:
    if REPOSITORY.fullmatch(name):
        return Repository(name)
    if text.startswith("hf://"):
        raise BadSource("a hub's repository is hf://ORG/NAME")
    raise BadSource("a directory is an absolute path (/models/NAME), a hub's repository is ORG/NAME")


def _hub(text: str) -> Repository:
    url = urlsplit(text)
    parts = url.path.strip("/").split("/")
    name = "/".join(parts[-2:])
    if url.username or url.password:
        raise BadSource("an https source holds no user or password: put the token into HF_TOKEN")
    if not url.hostname or url.query or url.fragment or not REPOSITORY.fullmatch(name):
        raise BadSource("an https source is a repository of a hub, https://HOST/ORG/NAME; vLLM loads no single file")
    return Repository(name, endpoint="/".join([f"https://{url.netloc}", *parts[:-2]]))
