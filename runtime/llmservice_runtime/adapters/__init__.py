"""Fetches and checks LoRA adapters. A process of its own does it, with limits of time and size, so that neither a slow
hub nor a hostile file holds up vLLM's server."""
