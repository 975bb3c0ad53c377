"""What is printed from the types lies in the tree as it is printed."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from llmservice_operator.api.crd import DEFINITIONS, custom_resource_definition, manifest

ROOT = Path(__file__).parents[3]
CRDS = ROOT / "crds"


@pytest.mark.parametrize("plural", DEFINITIONS)
def test_the_crd_file_is_what_the_types_say(plural: str) -> None:
    file = CRDS / f"llmservice.dev_{plural}.yaml"
    assert file.read_text() == manifest(plural), f"print it again: python -m llmservice_operator crd {plural}"


@pytest.mark.parametrize("plural", DEFINITIONS)
def test_the_manifest_says_what_the_crd_is(plural: str) -> None:
    text = manifest(plural)
    assert yaml.safe_load(text) == custom_resource_definition(DEFINITIONS[plural])
    assert "&id" not in text


def test_the_reference_page_is_what_the_types_say() -> None:
    command = [sys.executable, "hack/generators/api_reference.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_printing_needs_no_cluster_client() -> None:
    script = (
        "import sys; from llmservice_operator.api.crd import manifest; manifest(); "
        "print({'kopf', 'kubernetes', 'aiohttp', 'asyncio'} & set(sys.modules) or 'light')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "light"
