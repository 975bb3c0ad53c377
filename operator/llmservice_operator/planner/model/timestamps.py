"""Times as the API server writes them."""

import datetime

LONGEST = 64
"""Characters of a time."""
FIRST_YEAR, LAST_YEAR = 1970, 2200
"""Other years are mistakes, and datetime can't compute with all of them."""


def parse(text: str | None) -> datetime.datetime | None:
    """The time of an RFC 3339 text; None for none, and for one that tells no time of an object's: others write
    annotations."""
    if not isinstance(text, str) or not text or len(text) > LONGEST:
        return None
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None and FIRST_YEAR <= found.year <= LAST_YEAR else None


def show(time: datetime.datetime) -> str:
    """``time`` in UTC, to the second."""
    return time.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
