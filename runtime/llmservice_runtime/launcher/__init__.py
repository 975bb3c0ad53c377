"""PID 1 of the engine's container: turns the environment into `vllm serve`, runs it and handles its exit."""
