"""The location of a model's weights: one grammar for ``spec.model.source`` and for the engine's variable.

vLLM loads from a directory, a repository of a hub, or an S3 prefix. It has no ``https://`` argument: such a source is a
repository of another hub, whose URL becomes HF_ENDPOINT. A ``pvc://`` source is a volume claim that the operator
mounts, so the engine sees a directory.

The patterns use the common syntax of Python and the API server's RE2, because the rules of the CRD use them too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from llmservice_contract.container import MODELS_PATH

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_HOST_LABEL = "[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?"
_NAME = "[A-Za-z0-9][A-Za-z0-9._-]*"
_ORG_NAME = f"{_NAME}/{_NAME}"
_HOST = f"{_HOST_LABEL}([.]{_HOST_LABEL})*(:[1-9][0-9]{{0,4}})?"

SCHEMES = ("pvc", "hf", "s3", "https")
"""Prefixes of a source in a spec."""
PRINTABLE = "[!-~]+"
"""Characters of a source in a spec."""
CLAIM = f"pvc://{_LABEL}([.]{_LABEL})*(/[A-Za-z0-9._-]+)*/?"
DOTS = "/[.]{1,2}(/|$)"
"""Not allowed in the path of a volume claim."""
HUB = f"hf://{_ORG_NAME}"
BUCKET = "s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/+[^/].*"
OTHER_HUB = f"https://{_HOST}/{_ORG_NAME}"

_MIRROR = re.compile(f"https://(?P<host>{_HOST})(?P<prefix>(/{_NAME})*)/(?P<name>{_ORG_NAME})/?")
"""As OTHER_HUB, with a path before the repository, as mirrors may have."""


class BadSource(ValueError):
    """The source is invalid; the text says what is valid."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A directory in a PersistentVolumeClaim."""

    name: str
    path: str
    """Relative to the root of the volume; empty for the root."""

    @property
    def argument(self) -> str:
        """The model argument of ``vllm serve``."""
        return f"{MODELS_PATH}/{self.path}".rstrip("/")


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory in the container."""

    path: str

    @property
    def argument(self) -> str:
        """The model argument of ``vllm serve``."""
        return self.path


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of a hub; `endpoint` is the hub's URL, None for the Hugging Face hub."""

    name: str
    endpoint: str | None = None

    @property
    def argument(self) -> str:
        """The model argument of ``vllm serve``."""
        return self.name


@dataclass(frozen=True, slots=True)
class ObjectPrefix:
    """All objects of an S3 bucket below a prefix."""

    url: str

    @property
    def argument(self) -> str:
        """The model argument of ``vllm serve``."""
        return self.url


SpecSource = Claim | Repository | ObjectPrefix
"""Sources in ``spec.model.source``."""
Source = Directory | Repository | ObjectPrefix
"""Sources in the engine's environment. A claim is a directory there."""


@lru_cache(maxsize=1024)
def parse_spec_source(text: str) -> SpecSource:
    """The source in a spec. Raises BadSource exactly if the rules of the CRD refuse it."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in SCHEMES or not re.fullmatch(PRINTABLE, rest):
        raise BadSource(
            "a source must begin with hf://, pvc://, s3:// or https://, such as hf://Qwen/Qwen3-8B, without spaces"
        )
    match scheme:
        case "pvc":
            return _claim(text)
        case "https" if not re.fullmatch(OTHER_HUB, text):
            raise BadSource("an https source must be https://HOST/ORG/NAME, a repository of the hub at that host")
    return _remote(text)


def parse_source(text: str) -> Source:
    """The source in the engine's environment. Raises BadSource."""
    if text.startswith("/"):
        return Directory(text)
    if "://" in text:
        return _remote(text)
    if re.fullmatch(_ORG_NAME, text):
        return Repository(text)
    raise BadSource("a directory must be an absolute path (/models/NAME), a repository of a hub ORG/NAME")


def _claim(text: str) -> Claim:
    if not re.fullmatch(CLAIM, text):
        raise BadSource(
            "a pvc source must be pvc://CLAIM or pvc://CLAIM/PATH, with a claim's name in lower case and a plain path"
        )
    if re.search(DOTS, text):
        raise BadSource("the path of a pvc source must not contain . or .. as a part")
    name, _, path = text.removeprefix("pvc://").partition("/")
    return Claim(name, path.rstrip("/"))


def _remote(text: str) -> Repository | ObjectPrefix:
    scheme = text.partition("://")[0]
    match scheme:
        case "hf":
            if re.fullmatch(HUB, text):
                return Repository(text.removeprefix("hf://"))
            raise BadSource("a repository of the Hugging Face hub must be hf://ORG/NAME")
        case "s3":
            if re.fullmatch(BUCKET, text):
                return ObjectPrefix(text.rstrip("/"))
            raise BadSource("an S3 source must be s3://BUCKET/PATH, with a bucket of 3 to 63 lower-case characters")
        case "https":
            return _other_hub(text)
    raise BadSource(
        f"{scheme}:// is unknown; use an absolute path, hf://ORG/NAME, https://HOST/ORG/NAME or s3://BUCKET/PATH"
    )


def _other_hub(text: str) -> Repository:
    if "@" in text:
        raise BadSource("an https source must not contain a user or password: put the token into HF_TOKEN")
    found = _MIRROR.fullmatch(text)
    if found is None:
        raise BadSource(
            "an https source must be a repository of a hub, https://HOST/ORG/NAME: vLLM can't load a single file"
        )
    return Repository(found["name"], endpoint=f"https://{found['host']}{found['prefix']}")
