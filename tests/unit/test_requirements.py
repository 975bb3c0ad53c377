"""What is installed is named exactly: each Python package by version and hashes, the base image by its digest."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALLS = re.compile(r"\bpip(?:\"|')? install\b")


def tracked() -> list[Path]:
    """Files of the repository."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


LOCKS = [path for path in tracked() if re.fullmatch(r"requirements.*\.txt", path.name)]
OF_THE_PROJECT = ["operator/requirements.txt", "hack/requirements-dev.txt", "runtime/requirements-gpu.txt"]


def requirements(text: str) -> dict[str, list[str]]:
    """Each requirement of a file with its options."""
    joined = text.replace("\\\n", " ")
    lines = [line.split() for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return {line[0]: line[1:] for line in lines}


def commands(text: str) -> list[str]:
    """Commands of a script or a Dockerfile, continued lines as one."""
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [part for line in lines if not line.lstrip().startswith("#") for part in re.split(r"&&|;(?!\S)", line)]


def test_the_locks_are_found() -> None:
    names = {str(path.relative_to(ROOT)) for path in LOCKS}
    assert names >= {*OF_THE_PROJECT, "hack/requirements-uv.txt", "runtime/requirements-cpu.txt"}
    assert names >= {f"hack/venv/requirements-{name}.txt" for name in ("clients", "litellm", "moto")}


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_requirement_has_an_exact_version_and_a_hash(path: Path) -> None:
    found = requirements(path.read_text())
    assert found
    inexact = [
        name
        for name in found
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[a-z0-9,-]+\])?==[A-Za-z0-9.+!]+", name)
    ]
    assert not inexact, f"without an exact version: {inexact}"
    bare = [
        name
        for name, options in found.items()
        if not any(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in options)
    ]
    assert not bare, f"without a hash: {bare}; run make lock, or runtime/lock-engine for the engine's"


def test_whatever_installs_python_packages_asks_for_hashes() -> None:
    scripts = [
        path
        for path in tracked()
        if path.parts[len(ROOT.parts)] in {"hack", "runtime", "Dockerfile", "Makefile", ".ci"}
    ]
    found = {
        f"{path.relative_to(ROOT)}: {command.strip()}"
        for path in scripts
        if path.suffix in {"", ".sh", ".py"}
        for command in commands(path.read_text())
        if INSTALLS.search(command)
    }
    assert len(found) >= 6, found
    # Built by packages that are installed already, or the wheel that was built just before.
    own = {each for each in found if "--no-deps --no-build-isolation -e ." in each or '--no-deps "$wheel"' in each}
    assert not [each for each in found - own if "--require-hashes" not in each or "--only-binary :all:" not in each]


def test_the_operators_image_has_the_versions_that_tests_run_with() -> None:
    tests = requirements((ROOT / "hack/requirements-dev.txt").read_text())
    image = requirements((ROOT / "operator/requirements.txt").read_text())
    assert image.keys() <= tests.keys(), "run make lock"
    names = {name.split("==")[0] for name in image}
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split(r"[<>=!\[; ]", each)[0].lower() for each in wanted} <= names, "run make lock"


def test_go_programs_have_exact_versions_and_are_checked() -> None:
    text = (ROOT / "hack/cluster/install-tools").read_text()
    paths = re.findall(r"(?:[a-z0-9-]+\.)+[a-z]+/[\w./-]+(?:@\S+?)?(?=[\s)])", text)
    versioned = [path for path in paths if "@" in path]
    assert versioned
    assert not [each for each in versioned if not re.fullmatch(r"[a-z0-9./-]+@v\d+\.\d+\.\d+", each)]
    # Programs without a version of their own are of the module, whose go.mod has one for each.
    module = (ROOT / "hack/cluster/programs/cluster/go.mod").read_text()
    of_module = [path for path in paths if "@" not in path]
    assert len(of_module) >= 3
    required = re.findall(r"^\s+(\S+) v\d+\.\d+\.\d+\S*", module, re.MULTILINE)
    assert not [path for path in of_module if not any(path.startswith(each) for each in required)]
    build = (ROOT / "hack/cluster/lib/programs.sh").read_text()
    assert all(f" {setting} " in build for setting in ("GOSUMDB=sum.golang.org", "GONOSUMDB=", "GOPRIVATE="))
    for module in (ROOT / "hack/cluster/programs").iterdir():
        required = re.findall(r"^\s+(\S+) v\d+\.\d+\.\d+\S*", (module / "go.mod").read_text(), re.MULTILINE)
        assert 0 < len(required) <= (module / "go.sum").read_text().count("h1:")


def test_the_images_base_has_no_default_and_needs_a_digest(tmp_path: Path) -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^ARG BASE\b.*$", text, re.MULTILINE) == ["ARG BASE", "ARG BASE"]
    stages = re.findall(r"^FROM (\S+) AS (\S+)", text, re.MULTILINE)
    built = {name for _, name in stages}
    assert [image for image, _ in stages if image not in built] == ["${BASE}"]
    check = next(command for command in commands(text) if "@sha256:*" in command)
    script = text[text.index("RUN case $BASE in") + 4 : text.index("esac \\\n && find") + 4].replace("\\\n", "\n")
    assert "@sha256:*" in check
    digest = "sha256:" + "0" * 64
    for base, good in {
        f"python:3.11-slim@{digest}": True,
        "localhost/llmservice/base:1": True,
        "python:3.11-slim": False,
        "": False,
        "registry.example.com/localhost/base:1": False,
    }.items():
        done = subprocess.run(["sh", "-c", script], env={"BASE": base}, capture_output=True, text=True)
        assert (done.returncode == 0) is good, base


def test_the_runtime_finds_drivers_that_are_mounted_into_it() -> None:
    stage = (ROOT / "Dockerfile").read_text().split("FROM engine AS runtime")[1]
    variables = dict(re.findall(r"(\w+)=(\S+)", " ".join(re.findall(r"^ENV (.*)$", stage, re.MULTILINE))))
    assert "/usr/local/nvidia/lib64" in variables["LD_LIBRARY_PATH"].split(":")
    assert {"compute", "utility"} <= set(variables["NVIDIA_DRIVER_CAPABILITIES"].split(","))


def test_the_image_for_gpus_has_a_c_compiler_and_headers_and_no_more_tools() -> None:
    text = (ROOT / "Dockerfile").read_text()
    of_gpus = re.search(r"\bvllm\) need=\"([^\"]*)\"", text)
    assert of_gpus
    installed = {name for found in re.findall(r"apt-get install ([^&]*)&&", text) for name in found.split()}
    packages = {name for name in installed if not name.startswith("-")} - {"$need"} | set(of_gpus[1].split())
    of_gateway = re.search(r"AS gateway\n.*?apt-get install ([^&]*)&&", text, re.DOTALL)
    assert of_gateway
    own = {"nginx", "libnginx-mod-http-lua", "lua-resty-core", "lua-cjson"}
    assert own <= set(of_gateway[1].split())
    assert packages - {"\\"} - own == {"gcc", "libc6-dev", "libpython3-dev"}
    assert text.count("apt-get install") == text.count("--no-install-recommends"), "recommended packages are more"


def layer_of_each(lock: Path) -> dict[str, list[str]]:
    """Names of the engine's packages by the layer of the image that runtime/install-engine-layer puts them in."""
    script = (ROOT / "runtime/install-engine-layer").read_text()
    program = re.search(r"awk -v wanted=\"\$layer\" '(.+?)'", script)
    assert program
    layers = {}
    for layer in re.findall(
        r"^RUN /build/install-engine-layer \$ENGINE (\w+)", (ROOT / "Dockerfile").read_text(), re.M
    ):
        done = subprocess.run(["awk", "-v", f"wanted={layer}", program[1], lock], capture_output=True, text=True)
        found = requirements(done.stdout)
        assert all(found.values()), "each keeps its hashes"
        layers[layer] = list(found)
    return layers


@pytest.mark.parametrize("engine", ["cpu", "gpu"])
def test_each_package_of_the_engine_is_in_one_layer_of_the_image(engine: str) -> None:
    lock = ROOT / f"runtime/requirements-{engine}.txt"
    layers = layer_of_each(lock)
    assert len(layers) == 3
    assert sorted(name for names in layers.values() for name in names) == sorted(requirements(lock.read_text()))
    assert all(layers.values())
