"""Watches, the store of what they deliver, and the resync."""
