"""vLLM's pool of KV-cache blocks: the size of a block, the number of blocks, and how many a request needs.

Layers of one kind (all tokens, window, chunk, state) share block tables. If there are several kinds, layers are put
into groups of equal size, and all groups take blocks of the same size from one pool. The part of a layer in a block is
a page. This module follows vLLM 0.32, to the byte.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from llmservice_operator.gpu_memory.cache import Attention, Cache, Latent, State
from llmservice_operator.gpu_memory.model import Layer


@dataclass(frozen=True, slots=True)
class Steps:
    """What one request may hold in addition to its window."""

    in_flight: int
    """Maximum number of scheduled tokens that are not finished."""


@dataclass(frozen=True, slots=True)
class Page:
    """The part of one layer in one block."""

    kind: str
    """``full``, ``window``, ``chunk`` or ``state``."""
    block: int
    """Tokens per block; for a state the tokens between two stored states."""
    bytes: int
    limit: int = 0
    """Tokens of the window or chunk; 0 without one."""
    states: int = 1
    """Number of states of a request."""

    def blocks(self, tokens: int, steps: Steps) -> int:
        """Maximum number of blocks of one layer for a request of ``tokens`` tokens."""
        if self.kind == "state":
            return self.states
        if self.kind == "window":
            return -(-min(self.limit - 1 + steps.in_flight, tokens) // self.block) + 1
        if self.kind == "chunk":
            return -(-min(self.limit + steps.in_flight, tokens) // self.block)
        return -(-tokens // self.block)


@dataclass(frozen=True)
class Group:
    """Layers that share block tables."""

    page: Page
    layers: tuple[tuple[int, int], ...]
    """Index of each layer in the stack, and bytes of its page."""

    def bytes_on(self, stage: range) -> int:
        """Bytes of one block for the layers of a pipeline stage."""
        return sum(size for index, size in self.layers if index in stage)


@dataclass(frozen=True)
class Pool:
    """The pool of one model, over all pipeline stages."""

    groups: tuple[Group, ...]
    steps: Steps

    def block_bytes(self, stage: range) -> int:
        """Bytes of one block on a GPU of that stage; 0 if it has no cache."""
        return max((group.bytes_on(stage) for group in self.groups), default=0)

    def request_blocks(self, tokens: int) -> int:
        """Maximum number of blocks for a request of ``tokens`` tokens."""
        return sum(group.page.blocks(tokens, self.steps) for group in self.groups)

    def request_bytes(self, tokens: int, stage: range) -> int:
        """Maximum number of bytes for such a request on a GPU of that stage."""
        return self.request_blocks(tokens) * self.block_bytes(stage)

    def longest(self, blocks: int, most: int) -> int:
        """The longest request, up to ``most`` tokens, for which ``blocks`` blocks suffice; 0 if none does. vLLM
        reserves one block."""
        low, high = 0, max(0, most)
        while low < high:
            middle = (low + high + 1) // 2
            if self.request_blocks(middle) <= blocks - 1:
                low = middle
            else:
                high = middle - 1
        return low


@dataclass(frozen=True, slots=True)
class Numbers:
    """Bytes per element of the cache."""

    key_value: float
    """For keys and values: 2 or 1."""
    state: int = 2
    """For a recurrent state, unless config.json requires 32 bits."""
    prefixes: bool = True
    """Whether prefix caching is on. Models without attention never use it."""


def pool(layers: Sequence[Layer], block: int, numbers: Numbers, steps: Steps) -> Pool:
    """The pool of these layers. ``block``: tokens per block that the attention kernels require."""
    caches = [(index, cache) for index, layer in enumerate(layers) for cache in layer.caches]
    if all(isinstance(cache, State) for _, cache in caches):
        numbers = replace(numbers, prefixes=False)
    block = fitting_block(caches, block, numbers)
    pages = [(index, _page(cache, block, numbers)) for index, cache in caches]
    kinds = {(page.kind, page.limit) for _, page in pages}
    if not pages:
        return Pool((), steps)
    if len(kinds) == 1:
        return Pool((Group(pages[0][1], tuple((index, page.bytes) for index, page in pages)),), steps)
    return Pool(_grouped(_same_size(pages)), steps)


def fitting_block(caches: Sequence[tuple[int, Cache]], block: int, numbers: Numbers) -> int:
    """Tokens per block. With recurrent states it is so large that the page of attention is not smaller than a state."""
    states = [state_bytes(cache, numbers) for _, cache in caches if isinstance(cache, State)]
    tokens = [token_bytes(cache, numbers) for _, cache in caches if not isinstance(cache, State)]
    if not states or not tokens or not tokens[0]:
        return block
    return block * -(-max(states) // (block * tokens[0]))


def token_bytes(cache: Cache, numbers: Numbers) -> int:
    """Bytes of one token in one layer; 0 for a state."""
    return 0 if isinstance(cache, State) else math.ceil(cache.numbers * numbers.key_value)


def state_bytes(cache: State, numbers: Numbers) -> int:
    """Bytes of a state in one layer."""
    return cache.small * numbers.state + 4 * cache.wide


def _page(cache: Cache, block: int, numbers: Numbers) -> Page:
    match cache:
        case State():
            return Page("state", block, state_bytes(cache, numbers), states=cache.kept if numbers.prefixes else 1)
        case Attention(window=window) if window is not None:
            return Page("window", block, block * token_bytes(cache, numbers), window)
        case Attention(chunk=chunk) if chunk is not None:
            return Page("chunk", block, block * token_bytes(cache, numbers), chunk)
        case Attention() | Latent():
            return Page("full", block, block * token_bytes(cache, numbers))


def _same_size(pages: Sequence[tuple[int, Page]]) -> list[tuple[int, Page]]:
    """All pages with the size of the largest one: with more tokens if that divides evenly, otherwise padded."""
    largest = max(page.bytes for _, page in pages)
    found = []
    for index, page in pages:
        times, rest = divmod(largest, page.bytes)
        if page.kind == "state" or rest:
            found.append((index, replace(page, bytes=largest)))
        else:
            found.append((index, replace(page, bytes=largest, block=page.block * times)))
    return found


def _grouped(pages: Sequence[tuple[int, Page]]) -> tuple[Group, ...]:
    """Groups of equal size: as many layers as the rarest kind has or, if the kinds are about equally frequent, as many
    as the most frequent one has."""
    kinds: dict[Page, list[tuple[int, int]]] = {}
    for index, page in pages:
        kinds.setdefault(page, []).append((index, page.bytes))
    least, most = min(map(len, kinds.values())), max(map(len, kinds.values()))
    size = most if most < 1.5 * least else least
    return tuple(
        Group(page, tuple(members[start :: -(-len(members) // size)]))
        for page, members in kinds.items()
        for start in range(-(-len(members) // size))
    )
