"""Runs kubectl for the scripts under hack/: errors quote kubectl, objects are dicts."""

import json
import shutil
import subprocess
from typing import Any


class KubectlFailed(Exception):
    """kubectl ended with an error; the message holds its words."""


def kubectl(*arguments: str, input: str | None = None, check: bool = True) -> str:
    """Run kubectl and return what it printed. Raises KubectlFailed with its own words."""
    if shutil.which("kubectl") is None:
        raise KubectlFailed("kubectl is not on the PATH: install it, or `eval $(hack/cluster/env)` for the local one")
    done = subprocess.run(["kubectl", *arguments], input=input, text=True, capture_output=True)
    if check and done.returncode != 0:
        raise KubectlFailed(f"`kubectl {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return done.stdout


def get(*arguments: str) -> dict[str, Any] | None:
    """An object as the API server has it, or None if there is none."""
    printed = kubectl("get", *arguments, "-o", "json", "--ignore-not-found")
    return json.loads(printed) if printed.strip() else None


def apply(namespace: str, manifest: dict[str, Any]) -> None:
    """Apply one object."""
    kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(manifest))
