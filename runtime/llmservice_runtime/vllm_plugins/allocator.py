"""glibc's allocator, set so that the memory of large bodies and prompts goes back to the kernel.

glibc allocates large buffers with mmap, so that each can be returned when it is freed. But its threshold of "large"
grows up to 32 MiB with each larger buffer that is freed, and with it the amount of free memory that glibc keeps. Then
bodies are allocated between long-lived objects, and one burst of large bodies keeps tens of MiB allocated. The buffers
of 256 KiB in which parts of bodies arrive stay below the threshold, because mmap for each of them blocked the event
loop for a second. The settings apply only to this process: the engine's processes allocate tensors, for which mmap
would be slow.
"""

from __future__ import annotations

import ctypes

LARGE_BYTES = 512 * 1024
"""Buffers of at least this size are allocated with mmap."""
KEPT_BYTES = 1024 * 1024
"""Free memory that is kept at the end of the heap."""
MOST_ARENAS = 2
"""Maximum number of heaps for all threads."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""The parameters' numbers in malloc.h."""


def return_freed_memory() -> bool:
    """Configures the allocator of this process. False if it is not glibc's; then nothing is changed."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_MMAP_THRESHOLD, LARGE_BYTES), (_TRIM_THRESHOLD, KEPT_BYTES), (_ARENA_MAX, MOST_ARENAS))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
