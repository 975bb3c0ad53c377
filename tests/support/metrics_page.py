"""The tables of docs/metrics.md."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
ROWS = {
    name: (kind, frozenset(re.findall(r"`(\w+)`", labels)))
    for name, kind, labels in re.findall(r"^\| `([\w:]+)` \| (\w+) \| (.*?) ?\|", PAGE, re.MULTILINE)
}
"""Type and labels of each metric by its name."""
