"""What a version installs and renders is kept for the upgrade tests of later versions, and is true from then on."""

import tarfile
from pathlib import Path

import pytest
import yaml

from builders.cases import CASES
from llmservice_operator import __version__

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "tests" / "fixtures" / __version__
CHART = ROOT / "charts" / "llmservice-operator"
REFRESH = "run hack/keep-release and commit it"

pytestmark = pytest.mark.skipif(
    not KEPT.exists(), reason=f"version {__version__} is under way: hack/keep-release keeps it when it is done"
)


def test_the_children_of_this_version_are_kept() -> None:
    golden = {file.name: file.read_text() for file in (ROOT / "tests" / "unit" / "golden").iterdir()}
    kept = {file.name: file.read_text() for file in (KEPT / "children").iterdir()}
    assert kept == golden, REFRESH
    services = yaml.safe_load((KEPT / "services.yaml").read_text())
    assert services == {name: case.build() for name, case in CASES.items()}, REFRESH


def test_the_packaged_chart_of_this_version_is_kept() -> None:
    with tarfile.open(KEPT / f"llmservice-operator-{__version__}.tgz") as package:
        packed = {
            member.name.removeprefix("llmservice-operator/"): package.extractfile(member).read()  # type: ignore[union-attr]
            for member in package.getmembers()
        }
    chart = packed.pop("Chart.yaml")
    assert yaml.safe_load(chart) == yaml.safe_load((CHART / "Chart.yaml").read_bytes()), REFRESH
    files = {str(file.relative_to(CHART)): file.read_bytes() for file in CHART.rglob("*") if file.is_file()}
    files.pop("Chart.yaml")
    files.pop(".helmignore", None)
    packed.pop(".helmignore", None)
    assert packed == files, REFRESH
