"""Real vLLM as a user that no file knows, in group 0 and without any capability: as OpenShift runs it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.engine import Engine, make_model

USER = 1000680000
BECOME = f"""
set -e
kept=$(mktemp -d)
mkdir "$kept/cache" "$kept/pyenv"
mount --bind "$HOME/.cache" "$kept/cache"
[ ! -d "$HOME/.pyenv" ] || mount --bind "$HOME/.pyenv" "$kept/pyenv"
mount -t tmpfs -o mode=755 none "$HOME"
mkdir "$HOME/.cache" "$HOME/.pyenv"
mount --move "$kept/cache" "$HOME/.cache"
[ ! -d "$HOME/.pyenv" ] || mount --move "$kept/pyenv" "$HOME/.pyenv"
export HOME=$1
shift
exec setpriv --reuid={USER} --regid=0 --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all "$@"
"""
"""In a mount namespace of its own, because only root may enter the home directory that has vLLM on this machine."""


@pytest.fixture
def scratch() -> Iterator[Path]:
    """What an emptyDir is: everyone may write to it."""
    made = Path(tempfile.mkdtemp(prefix="any-user-"))
    made.chmod(0o777)
    yield made
    shutil.rmtree(made)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_engine_serves_as_any_user(scratch: Path) -> None:
    model = make_model(scratch / "model")
    home = scratch / "cache"
    environ = {"HF_HOME": f"{home}/huggingface", "VLLM_CACHE_ROOT": f"{home}/vllm", "TMPDIR": str(scratch)}
    under = ["unshare", "--mount", "--propagation", "private", "bash", "-c", BECOME, "become", str(home)]
    inherited = {"PATH": os.environ["PATH"], "HOME": str(Path.home()), "USER": "llmservice"}
    with Engine(scratch, model, inherited, under, MAX_CONTEXT_LENGTH="256", **environ) as engine:
        engine.wait_until_ready()
        status = Path(f"/proc/{engine.process.pid}/status").read_text()
        assert f"Uid:\t{USER}\t{USER}" in status
        assert engine.complete("The quick brown fox")["choices"]
        assert engine.metrics()
