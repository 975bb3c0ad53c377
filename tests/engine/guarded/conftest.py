"""One engine with keys, limits and caps for all tests of this directory: its start is most of their time."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from support.engine import READY_SECONDS, ROOT, vllm_python
from support.guarded import Guarded, guarded_engine


@pytest.fixture(scope="package")
def loading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded_engine(tmp_path_factory.mktemp("guarded")) as engine:
        yield engine


@pytest.fixture(scope="package")
def app(loading: Guarded) -> dict[str, Any]:
    """What vLLM's own build_app registers, with the engine's settings and with others."""
    script = [vllm_python(), "-P", ROOT / "tests" / "support" / "vllm_app.py"]
    done = subprocess.run(script, env=loading.engine.environ, capture_output=True, text=True, timeout=READY_SECONDS)
    assert done.returncode == 0, done.stderr[-4000:]
    reported: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return reported


@pytest.fixture(scope="package")
def guarded(loading: Guarded) -> Guarded:
    """The same, ready."""
    loading.engine.wait_until_ready()
    return loading
