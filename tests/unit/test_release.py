"""What `make release` makes: the small files for real, the bill of materials of a made-up root, and honest refusals."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from llmservice_operator import __version__
from support.cache import CACHE

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "hack" / "release"))

import set_version  # noqa: E402

BUILD = ROOT / "hack" / "release" / "build"
SBOM = ROOT / "hack" / "release" / "sbom.py"


@pytest.mark.parametrize("file", set_version.PLACES)
def test_every_place_names_the_version_that_is_released(file: str) -> None:
    text, pattern = (ROOT / file).read_text(), set_version.PLACES[file]
    assert set_version.named(text, pattern) == {__version__}
    changed = set_version.replaced(text, pattern, "10.11.12")
    assert set_version.named(changed, pattern) == {"10.11.12"}
    assert set_version.replaced(changed, pattern, __version__) == text


@pytest.mark.parametrize("arguments", [["0.4"], ["v0.4.0"], ["0.4.0", "0.5.0"]])
def test_what_is_no_version_is_refused(arguments: list[str]) -> None:
    script = ROOT / "hack" / "release" / "set_version.py"
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "0.4.0" in done.stderr


def build(dist: Path, *parts: str, path: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """`hack/release/build` into a directory of the test's own."""
    given = os.environ | {"DIST": str(dist), "DIRTY": "1", **environ}
    return subprocess.run(
        [BUILD, *parts], env=given | {"PATH": path + os.environ["PATH"]}, capture_output=True, text=True, timeout=300
    )


@pytest.mark.skipif(
    not (shutil.which("helm") or (CACHE / "bin" / "helm").exists()), reason="there is no helm; make tools builds it"
)
def test_the_packages_are_whole_and_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for dist in (first, second):
        done = build(dist, "packages", SOURCE_DATE_EPOCH="1700000000")
        assert done.returncode == 0, done.stderr
    names = {path.name for path in first.iterdir()}
    wheel = f"llmservice_operator-{__version__}-py3-none-any.whl"
    assert names == {
        wheel,
        f"{wheel}.cdx.json",
        f"llmservice_operator-{__version__}.tar.gz",
        f"llmservice-operator-{__version__}.tgz",
        "install.yaml",
        "SHA256SUMS",
    }
    listed = {line.split()[1] for line in (first / "SHA256SUMS").read_text().splitlines()}
    assert listed == names - {"SHA256SUMS"}
    assert subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=first).returncode == 0
    assert (second / "SHA256SUMS").read_text() == (first / "SHA256SUMS").read_text()
    assert (first / "install.yaml").read_text() == (ROOT / "manifests/install.yaml").read_text()
    with tarfile.open(first / f"llmservice-operator-{__version__}.tgz") as chart:
        assert "llmservice-operator/files/crd-llmservices.yaml" in chart.getnames()
    with tarfile.open(first / f"llmservice_operator-{__version__}.tar.gz") as source:
        assert not [name for name in source.getnames() if "/tests/" in name or "/hack/" in name]
    bill = json.loads((first / f"{wheel}.cdx.json").read_text())
    assert {"kopf", "kubernetes", "llmservice-operator"} <= {each["name"] for each in bill["components"]}


def test_an_unknown_part_and_a_full_disk_are_told_before_anything_is_built(tmp_path: Path) -> None:
    done = build(tmp_path / "dist", "packages", "runtime")
    assert done.returncode == 1
    assert "unknown part 'runtime'" in done.stderr
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "df").write_text("#!/bin/sh\nprintf 'Avail\\n  7G\\n'\n")
    (tmp_path / "bin" / "df").chmod(0o755)
    cache = {"LLMSERVICE_CACHE": str(tmp_path / "cache")}
    done = build(tmp_path / "dist", "runtime-gpu", path=f"{tmp_path / 'bin'}:", **cache)
    assert done.returncode == 1
    assert re.search(r"takes up to \d+ GiB .* has 7 GiB free", done.stderr)
    assert not list((tmp_path / "dist").iterdir())


STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u10
Depends: libgcc-s1, libcrypt1 (>= 1:4.4.10-10~)

Package: libgcc-s1
Status: install ok installed
Architecture: amd64
Version: 12.2.0-14

Package: was-here
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""


def a_root(directory: Path, **metadata: str) -> Path:
    """A root with Debian packages and the Python distributions of `metadata`."""
    for name, text in {"var/lib/dpkg/status": STATUS, "etc/os-release": 'ID=debian\nVERSION_ID="12"\n'}.items():
        (directory / name).parent.mkdir(parents=True)
        (directory / name).write_text(text)
    for name, text in metadata.items():
        place = directory / "opt/code" / f"{name}-1.dist-info"
        place.mkdir(parents=True)
        (place / "METADATA").write_text(text)
    return directory


def bill_of(root: Path) -> subprocess.CompletedProcess[str]:
    artifact = root.parent / "image.oci.tar"
    artifact.write_bytes(b"image")
    given = ["--name", "llmservice/operator", "--version", "1", "--kind", "container", "--artifact", artifact]
    return subprocess.run([sys.executable, SBOM, root, *given], capture_output=True, text=True, timeout=60)


def test_a_bill_lists_what_is_installed_and_what_requires_what(tmp_path: Path) -> None:
    root = a_root(
        tmp_path / "root",
        One_Package="Metadata-Version: 2.4\nName: One.Package\nVersion: 2.0\nLicense-Expression: Apache-2.0\n"
        "Requires-Dist: other>=1\nRequires-Dist: unused; extra == 'x'\n"
        "Requires-Dist: windows-only; sys_platform == 'win32'\n"
        "Requires-Dist: not a requirement\n",
        other="Name: other\nVersion: 1.5\nLicense: the whole text\n of a licence\n",
        unused="Name: unused\nVersion: 3\nClassifier: License :: OSI Approved :: MIT License\n",
        windows_only="Name: windows-only\nVersion: 1\n",
    )
    printed = bill_of(root).stdout
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(printed) is None
    bill = json.loads(printed)
    assert {each["purl"] for each in bill["components"]} == {
        "pkg:pypi/one-package@2.0",
        "pkg:pypi/other@1.5",
        "pkg:pypi/unused@3",
        "pkg:pypi/windows-only@1",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12",
        "pkg:deb/debian/libgcc-s1@12.2.0-14?arch=amd64&distro=debian-12",
    }
    below = {each["ref"]: set(each.get("dependsOn", ())) for each in bill["dependencies"]}
    assert below["pkg:pypi/one-package@2.0"] == {"pkg:pypi/other@1.5"}
    assert below["pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12"] == {
        "pkg:deb/debian/libgcc-s1@12.2.0-14?arch=amd64&distro=debian-12"
    }
    assert "pkg:pypi/other@1.5" not in below["image.oci.tar"]
    assert "pkg:pypi/one-package@2.0" in below["image.oci.tar"]
    (digest,) = bill["metadata"]["component"]["hashes"]
    assert digest["content"] == "6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d"
    licenses = {each["name"]: each.get("licenses") for each in bill["components"]}
    assert licenses["one-package"] == [{"license": {"id": "Apache-2.0"}}]
    assert licenses["unused"] == [{"license": {"name": "MIT License"}}]
    assert licenses["other"] is None
    assert bill_of(root).stdout == printed


def test_metadata_without_a_name_is_told(tmp_path: Path) -> None:
    done = bill_of(a_root(tmp_path / "root", broken="Version: 1\n"))
    assert done.returncode == 1
    assert "broken-1.dist-info" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_tree_without_packages_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "root" / "proc" / "fake-1.dist-info").mkdir(parents=True)
    (tmp_path / "root" / "proc" / "fake-1.dist-info" / "METADATA").write_text("Name: fake\nVersion: 1\n")
    done = bill_of(tmp_path / "root")
    assert done.returncode == 1
    assert "no Python distribution" in done.stderr
