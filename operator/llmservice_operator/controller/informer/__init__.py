"""Watches, the cache that they fill, and the resync."""
