"""Which of the StatefulSets' controllers a rollout meets."""

from __future__ import annotations

import pytest


@pytest.fixture(params=[False, True], ids=["1.37", "before"])
def old_controller(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)
