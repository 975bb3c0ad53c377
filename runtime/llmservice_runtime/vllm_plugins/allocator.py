"""glibc's allocator, set so that the memory of large bodies and prompts goes back to the kernel.

glibc maps large buffers by themselves, so that each can be returned when it is freed. But what "large" means rises up
to 32 MiB with each larger buffer that is freed, and with it the free memory that is kept. Then bodies lie between
others that stay, and one burst of large ones keeps tens of MiB for good. The buffers of 256 KiB in which parts of
bodies arrive are not "large": mapping each of them held the event loop for a second. The settings hold for this process
alone: the engine's own processes allocate tensors, for which mapping each would be slow.
"""

from __future__ import annotations

import ctypes

LARGE_BYTES = 512 * 1024
"""A buffer of at least this size is mapped by itself."""
KEPT_BYTES = 1024 * 1024
"""Free memory at the end of the heap that is kept."""
MOST_ARENAS = 2
"""Heaps that threads may have between them."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""The parameters' numbers in malloc.h."""


def return_freed_memory() -> bool:
    """Sets this process's allocator. False if it is not glibc's, which is then left as it is."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_MMAP_THRESHOLD, LARGE_BYTES), (_TRIM_THRESHOLD, KEPT_BYTES), (_ARENA_MAX, MOST_ARENAS))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
