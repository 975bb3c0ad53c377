"""What runs in the engine's pod, around vLLM."""
