"""What a command left behind."""

import dataclasses
import json
from typing import Any

from support.documents import valid


@dataclasses.dataclass(frozen=True)
class Done:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output as JSON, which is what its schema says."""
        return valid(json.loads(self.out))
