"""Keys of the role of a pod's ServiceAccount: what refuses them, and what passes by itself."""

from __future__ import annotations

import pytest

from llmservice_runtime.model.bucket import AGENT_REFUSES

AGENT = "Error when retrieving credentials from container-role: Error retrieving metadata: Received "


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        (f"{AGENT}non 200 response 403 from container metadata: {{}}", True),
        (f"{AGENT}non 200 response 400 from container metadata: {{}}", True),
        (f"{AGENT}non 200 response 404 from container metadata: {{}}", True),
        (f"{AGENT}non 200 response 429 from container metadata: {{}}", False),
        (f"{AGENT}non 200 response 503 from container metadata: {{}}", False),
        (f"{AGENT}error when attempting to retrieve container metadata: Connect timeout on endpoint URL", False),
    ],
)
def test_an_agent_that_fails_is_no_fault_of_the_role(said: str, refused: bool) -> None:
    """botocore has one error for all of them."""
    assert bool(AGENT_REFUSES.search(said)) is refused
