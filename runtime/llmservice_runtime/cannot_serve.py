"""The base of what the runtime itself refuses to serve."""

from __future__ import annotations


class CannotServe(Exception):
    """It can't be served; the text says why and what to do. `field` is the path of the LLMService's field to change
    first; empty if no field helps."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field
