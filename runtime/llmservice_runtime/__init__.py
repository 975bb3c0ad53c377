"""The programs of the engine's pod, around vLLM."""
