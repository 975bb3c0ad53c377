"""The parts of engine.py, each with its own servers: batching, prefix caching, first tokens under load."""
