"""Timestamps in the format of the API server."""

import datetime

LONGEST = 64
"""Maximum length of a timestamp, in characters."""
FIRST_YEAR, LAST_YEAR = 1970, 2200
"""Other years are mistakes, and datetime can't calculate with all of them."""


def parse(text: str | None) -> datetime.datetime | None:
    """The time in an RFC 3339 text; None for no text and for an invalid one, because others write annotations too."""
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
