"""Writes a bill of materials (CycloneDX 1.6, JSON) of a directory tree: an image's root, or a virtual environment.

It lists what the tree says of itself: Debian packages by dpkg's status, Python distributions by their metadata. What a
package carries inside its own files, such as the CUDA libraries in PyTorch's wheel, is not taken apart. The same tree
and artifact give the same bytes.

    hack/release/sbom.py ROOT --name NAME --version VERSION --artifact FILE --kind application|container
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.parser import Parser
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

LONGEST_LICENSE = 100
"""Characters; some packages have the whole text in their field License."""
NOT_FILES = ("proc", "sys", "dev")
"""Directories of a root that hold no files of the image."""


@dataclass(frozen=True)
class Package:
    """One installed package."""

    url: PackageURL
    requires: frozenset[str] = frozenset()
    """Names of packages of the same type."""
    license: str = ""


def python_packages(root: Path) -> Iterator[Package]:
    """Python distributions below `root`, wherever they are."""
    for directory, below, _ in os.walk(root):
        if Path(directory) == root:
            below[:] = [name for name in below if name not in NOT_FILES]
        for name in below:
            metadata = Path(directory, name, "METADATA")
            if name.endswith(".dist-info") and metadata.is_file():
                read = Parser().parsestr(metadata.read_text(errors="replace"), headersonly=True)
                if not read["Name"] or not read["Version"]:
                    raise SystemExit(f"sbom.py: {metadata} has no name or no version of a Python distribution")
                yield _python_package(read)


def _python_package(metadata: Message) -> Package:
    return Package(
        PackageURL("pypi", None, canonicalize_name(metadata["Name"]), metadata["Version"]),
        frozenset(_required(metadata.get_all("Requires-Dist") or ())),
        _license(metadata),
    )


def _required(requirements: Iterable[str]) -> Iterator[str]:
    """Names that are required without an extra, on this platform."""
    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield canonicalize_name(requirement.name)


def _license(metadata: Message) -> str:
    """The licence in the words of the package: an SPDX expression if it states one."""
    if expression := metadata["License-Expression"]:
        return str(expression)
    named = [each for each in metadata.get_all("Classifier") or () if each.startswith("License :: ")]
    if named:
        return str(named[0].rpartition(" :: ")[2])
    stated = str(metadata["License"] or "").strip()
    return stated if "\n" not in stated and len(stated) <= LONGEST_LICENSE else ""


def debian_packages(root: Path) -> Iterator[Package]:
    """Debian packages that are installed below `root`."""
    status = root / "var/lib/dpkg/status"
    if not status.is_file():
        return
    distribution = _distribution(root)
    for paragraph in status.read_text(errors="replace").split("\n\n"):
        fields = Parser().parsestr(paragraph, headersonly=True)
        if not str(fields["Status"] or "").endswith(" installed"):
            continue
        qualifiers = {"arch": fields["Architecture"], "distro": distribution}
        depends = f"{fields['Pre-Depends'] or ''},{fields['Depends'] or ''}"
        names = {re.split(r"[\s(:]", each.strip())[0] for each in re.split(r"[,|]", depends)}
        yield Package(PackageURL("deb", "debian", fields["Package"], fields["Version"], qualifiers), frozenset(names))


def _distribution(root: Path) -> str:
    """Such as ``debian-12``."""
    release = root / "etc/os-release"
    words = dict(line.split("=", 1) for line in release.read_text().splitlines() if "=" in line)
    return "-".join(words.get(key, "").strip('"') for key in ("ID", "VERSION_ID"))


def make_bom(root: Component, packages: Iterable[Package], made: datetime) -> Bom:
    """The bill: `root`, what it consists of, and what of that requires what."""
    bom = Bom()
    bom.metadata.component = root
    bom.metadata.timestamp = made
    licenses = LicenseFactory()
    by_url = {str(package.url): package for package in packages}
    known: dict[tuple[str, str], str] = {(each.url.type, each.url.name): url for url, each in by_url.items()}
    edges: dict[str, set[str]] = {}
    for url, package in by_url.items():
        bom.components.add(
            Component(
                type=ComponentType.LIBRARY,
                name=package.url.name,
                version=package.url.version,
                purl=package.url,
                bom_ref=url,
                licenses=[licenses.make_from_string(package.license)] if package.license else None,
            )
        )
        found = {known.get((package.url.type, name), url) for name in package.requires}
        edges[url] = found - {url}
    required = {url for found in edges.values() for url in found}
    edges[str(root.bom_ref.value)] = by_url.keys() - required
    refs = {component.bom_ref.value: component.bom_ref for component in [*bom.components, root]}
    for url, found in edges.items():
        bom.dependencies.add(Dependency(refs[url], [Dependency(refs[each]) for each in found]))
    text = "\n".join(sorted(str(each) for each in refs))
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, f"{text}\n{[str(each.content) for each in root.hashes]}")
    return bom


def root_component(name: str, version: str, kind: ComponentType, artifact: Path) -> Component:
    """What the bill is of: a file of the release."""
    digest = hashlib.sha256()
    with artifact.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return Component(
        type=kind,
        name=name,
        version=version,
        bom_ref=artifact.name,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest.hexdigest())],
    )


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="the directory tree")
    parser.add_argument("--name", required=True, help="what the bill is of")
    parser.add_argument("--version", required=True, help="its version")
    parser.add_argument("--artifact", required=True, type=Path, help="the file that is released; its SHA-256 is listed")
    parser.add_argument("--kind", choices=["application", "container"], required=True, help="what that file is")
    options = parser.parse_args()
    if not options.root.is_dir():
        parser.error(f"{options.root} is no directory")
    if not options.artifact.is_file():
        parser.error(f"{options.artifact} is no file")
    return options


def main() -> int:
    """Prints the bill. 1 if the tree holds no package: then it is not the tree that was meant."""
    options = parse()
    packages = [*python_packages(options.root), *debian_packages(options.root)]
    if not packages:
        print(f"sbom.py: {options.root} holds no Python distribution and no Debian package", file=sys.stderr)
        return 1
    made = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), UTC)
    root = root_component(options.name, options.version, ComponentType(options.kind), options.artifact)
    print(JsonV1Dot6(make_bom(root, packages, made)).output_as_string(indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
