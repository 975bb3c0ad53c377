"""Run inside the runtime's image for GPUs: whether vLLM's kernels find a driver that is mounted into the container.

    driver_check.py DIRECTORY    libcuda.so.1 is there, as GKE's device plugin or NVIDIA's container toolkit mounts it
    driver_check.py --stub       prints C source of a library that stands in for it: each function returns an error

What is tried happens when an engine starts: the loader finds libcuda, and Triton compiles the C module through which it
loads kernels, linked with it. No GPU is needed.
"""

import ctypes
import re
import sys
from pathlib import Path

from triton.backends.nvidia import driver
from triton.runtime.build import compile_module_from_src


def main() -> int:
    """Say where the driver was found, or print the stub."""
    if sys.argv[1] == "--stub":
        functions = sorted(set(re.findall(r"\bcu[A-Z]\w+", Path(driver.dirname, "driver.c").read_text())))
        print("\n".join(f"int {name}(void) {{ return 999; }}" for name in functions))
        return 0
    ctypes.CDLL("libcuda.so.1")
    directories = driver.libcuda_dirs()
    if {Path(each).resolve() for each in directories} != {Path(sys.argv[1]).resolve()}:
        print(f"Triton finds libcuda.so.1 in {directories}, but it is in {sys.argv[1]}", file=sys.stderr)
        return 1
    compile_module_from_src(
        src=Path(driver.dirname, "driver.c").read_text(),
        name="cuda_utils",
        library_dirs=driver.library_dirs(),
        include_dirs=driver.include_dirs,
        libraries=driver.libraries,
    )
    print(f"driver in {sys.argv[1]}: found, Triton's module compiled and loaded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
