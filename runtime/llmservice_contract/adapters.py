"""The list of a service's LoRA adapters, in one file that running engines reload, and what each replica reports about
them.

The operator writes the list into a ConfigMap from `spec.adapters`; the runtime reads it from ADAPTERS. An invalid file
changes nothing: the last valid one stays in force.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

MOST_ADAPTERS = 32
LONGEST_NAME = 128
NAME = r"[A-Za-z0-9][A-Za-z0-9._:/-]*"
LONGEST_SOURCE = 1024
COMMIT = "[0-9a-f]{40}"
"""The revision of an adapter in a hub. A branch or tag could be another commit for each replica."""
MOST_BYTES = 4 * 1024**3
"""Size of one adapter's weights."""
MOST_BYTES_OF_ALL = 16 * 1024**3
"""Size of the weights of all adapters of a replica, with those that are being replaced."""
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Values of vLLM's --max-lora-rank."""
_MOST_FILE_BYTES = 1024 * 1024
_LONGEST_ERROR = 300


def lora_rank(rank: int) -> int:
    """The value of --max-lora-rank for adapters of up to this rank."""
    return next((each for each in RANKS if each >= rank), RANKS[-1])


class BadAdapters(ValueError):
    """The list is invalid; the text says why."""


class Adapter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One adapter. `source` is a source of the engine's environment: see `llmservice_contract.source.parse_source`."""

    name: Annotated[str, Meta(max_length=LONGEST_NAME, pattern=rf"\A({NAME})\Z")]
    source: Annotated[str, Meta(max_length=LONGEST_SOURCE, pattern=r"\A[!-~]+\Z")]
    revision: Annotated[str, Meta(pattern=rf"\A{COMMIT}\Z")] | None = None


class AdapterList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    adapters: Annotated[tuple[Adapter, ...], Meta(max_length=MOST_ADAPTERS)] = ()

    def to_json(self) -> str:
        """The file's text, in a stable order."""
        return msgspec.json.encode(self, order="deterministic").decode()


def read_adapters(data: bytes) -> tuple[Adapter, ...]:
    """The adapters in a file's text. Raises BadAdapters."""
    if len(data) > _MOST_FILE_BYTES:
        raise BadAdapters(f"the list of adapters has more than {_MOST_FILE_BYTES} bytes")
    try:
        found = _DECODER.decode(data).adapters
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise BadAdapters(f"the list of adapters is invalid: {str(error)[:_LONGEST_ERROR]}") from None
    if len({each.name for each in found}) < len(found):
        raise BadAdapters("the list of adapters has a name twice")
    return found


_DECODER = msgspec.json.Decoder(AdapterList)


class AdapterState(StrEnum):
    """What a replica does with an adapter of the list."""

    LOADING = "Loading"
    """The first one is fetched, checked or loaded; no request is answered under its name."""
    READY = "Ready"
    """It is served as the list says."""
    FAILED = "Failed"
    """It is not served as the list says, because of `reason`."""


class AdapterReport(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What a replica reports about one adapter of the list."""

    name: str
    source: str
    state: AdapterState
    revision: str | None = None
    serving: str | None = None
    """SHA-256 of the weights that are served, which may be those of an earlier source; None if none are."""
    reason: str | None = None
    message: str | None = None
