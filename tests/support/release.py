"""The operator installed with helm: one release for all namespaces of the local cluster."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import yaml

from support.cluster import ROOT
from support.helm import CHART, helm

NAME = "llmservice-operator"
NAMESPACE = "llmservice-system"
PROMETHEUS = "http://prometheus.monitoring:9090"
LOCAL = {"imageRegistry": "localhost", "image": {"pullPolicy": "Never"}, "runtime": {"pullPolicy": "Never"}}
"""Values for images that the node has and can pull from nowhere."""
REHEARSED = {
    "nvidia": {"repository": "llmservice/runtime-cpu-emulation"},
    "amd": {"repository": "llmservice/stand-in"},
}
SCALING = {"intervalSeconds": 5, "prometheus": {"url": PROMETHEUS, "windowSeconds": 30}}
VALUES = {**LOCAL, "scaling": SCALING, "runtime": {**LOCAL["runtime"], "images": REHEARSED}}
"""Of the working tree's chart, for all tests on the real node."""
WAITING = ("--wait", "--timeout", "180s")


@dataclasses.dataclass(frozen=True)
class Release:
    """The release in one cluster."""

    kubeconfig: Path

    def install(self, **more: Any) -> None:
        """The working tree's chart, whatever was there before."""
        taking = ["--install", "--create-namespace", "--take-ownership"]
        self._helm("upgrade", NAME, str(CHART), *taking, *WAITING, values={**VALUES, **more})

    def install_earlier(self, version: str) -> None:
        """The chart that is kept of an earlier version, with that version's images, in the place of any other."""
        subprocess.run([ROOT / "tests" / "support" / "earlier_images", version], check=True, timeout=300)
        self._helm("uninstall", NAME, "--ignore-not-found", *WAITING)
        chart = ROOT / "tests" / "fixtures" / version / f"{NAME}-{version}.tgz"
        self._helm("install", NAME, str(chart), "--create-namespace", "--take-ownership", *WAITING, values=LOCAL)

    def upgrade(self) -> None:
        """To the working tree's chart, by the command of docs/install.md."""
        self._helm("upgrade", NAME, str(CHART), "--reset-then-reuse-values", *WAITING)

    def roll_back(self) -> None:
        """To what was installed before."""
        self._helm("rollback", NAME, *WAITING)

    @property
    def version(self) -> str:
        """Of the operator that is installed."""
        (found,) = yaml.safe_load(self._helm("list", "--filter", f"^{NAME}$", "--output", "yaml"))
        return str(found["app_version"])

    def _helm(self, *arguments: str, values: dict[str, Any] | None = None) -> str:
        return helm(*arguments, "--namespace", NAMESPACE, kubeconfig=self.kubeconfig, values=values)
