"""Runs the real Helm, for tests of the chart."""

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from support.cache import CACHE

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "llmservice-operator"
NEWEST_KUBERNETES = "1.37.2"
OLDEST_KUBERNETES = "1.33.0"


# libyaml, where PyYAML has it: the chart's objects are 270 kB, which take 0.3 s without.
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class HelmError(Exception):
    """Helm refused; the message is what it wrote."""


def program() -> str:
    """Path of helm: $HELM, the local cluster's programs, or the PATH; AssertionError if there is none."""
    found = os.environ.get("HELM") or shutil.which(str(CACHE / "bin" / "helm")) or shutil.which("helm")
    assert found, "helm is missing: `make cluster-up` builds it, or set HELM to yours"
    return found


def helm(*arguments: str, kubeconfig: Path | None = None, values: Mapping[str, Any] | None = None) -> str:
    """What helm writes to its standard output. Values go in as a file, so that types stay what they are."""
    command = [program(), *arguments]
    if kubeconfig:
        command += ["--kubeconfig", str(kubeconfig)]
    if values is not None:
        command += ["--values", "-"]
    done = subprocess.run(
        command, input=yaml.safe_dump(dict(values or {})), capture_output=True, text=True, timeout=300
    )
    if done.returncode:
        raise HelmError((done.stdout + done.stderr).strip())
    return done.stdout


def render(
    values: Mapping[str, Any] | None = None,
    *,
    release: str = "llmservice-operator",
    namespace: str = "llmservice-system",
    kubernetes: str = NEWEST_KUBERNETES,
    api_versions: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """The chart's objects with these values, in a cluster that has these groups and versions beside its own."""
    options = ["--namespace", namespace, "--kube-version", kubernetes]
    options += [option for version in api_versions for option in ("--api-versions", version)]
    text = _template(release, tuple(options), json.dumps(values or {}))
    return [document for document in yaml.load_all(text, _Loader) if document]


@functools.lru_cache(maxsize=64)
def _template(release: str, options: tuple[str, ...], values: str) -> str:
    """The chart's objects as text; a process asks helm once for the same. Raises HelmError."""
    return helm("template", release, str(CHART), *options, values=json.loads(values))


def of_kind(objects: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The objects of one kind, in their order."""
    return [each for each in objects if each["kind"] == kind]


def only(objects: Sequence[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The one object of a kind."""
    (found,) = of_kind(objects, kind)
    return found
