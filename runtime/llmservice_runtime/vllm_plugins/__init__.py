"""Plug-ins that vLLM loads through its entry points, in its own processes."""
