#!/usr/bin/env python3
"""Sets the version in each place that names it: hack/release/set_version.py [VERSION]. Without one it prints it.

The places are the rows of PLACES. pyproject.toml has the version that all others must equal.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACES = {
    "pyproject.toml": r'^version = "(.+)"$',
    "operator/llmservice_operator/__init__.py": r'^__version__ = "(.+)"$',
    "runtime/llmservice_operator.dist-info/METADATA": r"^Version: (.+)$",
    "charts/llmservice-operator/Chart.yaml": r"^(?:version|appVersion): (.+)$",
    "Dockerfile": r"image\.version=(\S+)|llmservice/[a-z-]+:(\d\S+)",
    "operator/llmservice_operator/resources/platform.py": r'"llmservice/[a-z-]+:(.+)"',
    "manifests/kustomization.yaml": r"newTag: (.+)",
    "docs/install.md": r"llmservice/[a-z-]+:(\d\S+)|llmservice_operator-(\d[0-9.]+\d)|image-[a-z-]+-(\d[0-9.]+\d)\.oci",
    "docs/releasing.md": r"image-[a-z-]+-(\d[0-9.]+\d)\.oci|llmservice/[a-z-]+:(\d\S+)",
    "docs/kubectl-llm.md": r"llmservice_operator-(\d[0-9.]+\d)",
    "README.md": r"^This is version (\d[0-9.]+\d)",
    "hack/cluster/README.md": r"llmservice/[a-z-]+:(\d[0-9.]+\d)",
}
"""Files, each with a pattern whose groups are versions of this project."""


def named(text: str, pattern: str) -> set[str]:
    """The versions that a text names."""
    return {group for match in re.finditer(pattern, text, re.M) for group in match.groups() if group}


def replaced(text: str, pattern: str, version: str) -> str:
    """The text with this version in each place."""

    def put(match: re.Match[str]) -> str:
        whole = match[0]
        for index in range(len(match.groups()), 0, -1):
            if match[index]:
                begin, end = (each - match.start() for each in match.span(index))
                whole = whole[:begin] + version + whole[end:]
        return whole

    return re.sub(pattern, put, text, flags=re.M)


def main() -> int:
    """Set or print the version."""
    if len(sys.argv) == 1:
        print(*named((ROOT / "pyproject.toml").read_text(), PLACES["pyproject.toml"]))
        return 0
    version = sys.argv[1]
    if len(sys.argv) > 2 or not re.fullmatch(r"\d+\.\d+\.\d+", version):
        print("usage: hack/release/set_version.py [VERSION], such as 0.4.0", file=sys.stderr)
        return 2
    for file, pattern in PLACES.items():
        path = ROOT / file
        path.write_text(replaced(path.read_text(), pattern, version))
    print(f"The version is {version} in {len(PLACES)} files. Next: make install generate golden, and CHANGELOG.md.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
