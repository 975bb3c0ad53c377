"""What each process of vLLM does as it starts (entry-point group `vllm.general_plugins`, one entry of our name)."""

from __future__ import annotations

import os

from llmservice_runtime.launcher.command import MEDIA_CONNECTOR
from llmservice_runtime.vllm_plugins import amx


def load() -> None:
    """Called by vLLM, in some processes more than once."""
    amx.allow()
    if os.environ.get("VLLM_MEDIA_CONNECTOR") == MEDIA_CONNECTOR:
        from llmservice_runtime.vllm_plugins import media_connector

        media_connector.register()
