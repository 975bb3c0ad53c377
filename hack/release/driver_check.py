"""Run inside the runtime's image for GPUs: whether vLLM and Triton find a driver that is mounted into the container.

    driver_check.py DIRECTORY    libcuda.so.1 is there, as GKE's device plugin or NVIDIA's container toolkit mounts it
    driver_check.py --stub       prints C source of libraries in its place: one GPU of compute capability 9.0

What is tried happens when an engine starts: the loader finds libcuda, and Triton compiles the C module through which it
loads kernels, linked with it. No GPU is needed.
"""

import ctypes
import importlib.util
import re
import sys
from pathlib import Path

from triton.backends.nvidia import driver
from triton.runtime.build import compile_module_from_src

NVML = """
int nvmlInitWithFlags(unsigned flags) { return 0; }
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = &nvmlInit_v2; return 0; }
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) { *major = 9; *minor = 0; return 0; }
int nvmlDeviceGetName(void *device, char *name, unsigned length) { name[0] = 'G'; name[1] = 0; return 0; }
int nvmlDeviceGetUUID(void *device, char *name, unsigned length) { name[0] = 'G'; name[1] = 0; return 0; }
int nvmlDeviceGetMemoryInfo(void *device, long long *bytes) { bytes[0] = bytes[1] = 80LL << 30; return 0; }
"""


def stub() -> str:
    """C source of libcuda's functions that Triton and vLLM's own modules name, and NVML of one GPU."""
    package = importlib.util.find_spec("vllm")
    assert package and package.submodule_search_locations
    files = [Path(driver.dirname, "driver.c"), *Path(package.submodule_search_locations[0]).glob("*.so")]
    functions = {name for file in files for name in re.findall(rb"\bcu[A-Z]\w+", file.read_bytes())}
    return "".join(f"int {name.decode()}(void) {{ return 999; }}\n" for name in sorted(functions)) + NVML


def main() -> int:
    """Say where the driver was found, or print the stub."""
    if sys.argv[1] == "--stub":
        print(stub())
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
