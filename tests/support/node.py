"""Stops and starts the kubelet of the local cluster's node with the functions of hack/cluster."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from collections.abc import Iterator

from support.cluster import ROOT

ARGUMENTS = """
alive kubelet || die "there is no kubelet of the local cluster"
read -r pid _ <"$cluster/pids/kubelet"
cat "/proc/$pid/cmdline"
"""
FUNCTIONS = ROOT / "hack" / "cluster" / "lib" / "all.sh"


@contextlib.contextmanager
def stopped_kubelet(gpus: int) -> Iterator[None]:
    """Stops the kubelet, while the containers of the node continue. Afterwards a kubelet with the same arguments runs,
    and the node is ready with `gpus` GPUs: a new kubelet forgets devices that no device plugin has reported.

    If this is killed before its end, hack/cluster/up creates the cluster again.
    """
    running = _run(ARGUMENTS)
    again = shlex.join(["start", "kubelet", *running.rstrip("\0").split("\0")])
    _run("stop kubelet KILL")
    try:
        yield
    finally:
        _run(f'{again}; await 60 "node $node to be Ready" node_ready; set_gpus {gpus}')


def _run(script: str) -> str:
    """What the script prints, which has the cluster for itself. AssertionError with its words where it fails."""
    command = ["bash", "-c", f". {shlex.quote(str(FUNCTIONS))}; need_root; exclusively cluster; {script}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
