"""What a command left behind."""

import dataclasses
import json
from typing import Any


@dataclasses.dataclass(frozen=True)
class Done:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.out)
