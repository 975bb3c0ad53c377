"""Each process of an engine under test begins with it.

While vLLM is imported, in each of its three processes, Python looks for garbage again and again: a quarter of the time,
and there is none. vLLM itself calls `gc.collect` once its modules are loaded, and from then on all is as without this
file.
"""

import gc
import sys

_collect = gc.collect


def _loaded(generation: int = 2) -> int:
    gc.collect = _collect
    gc.enable()
    return _collect(generation)


# Other processes, such as the launcher's, are left alone: they never call it.
if any(each.endswith("/vllm") or "spawn_main" in each for each in sys.orig_argv):
    gc.disable()
    gc.collect = _loaded
