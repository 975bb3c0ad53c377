"""PID 1 of the engine's container: from the environment to `vllm serve`, and its end."""
