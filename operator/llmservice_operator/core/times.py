"""Times as the API server writes them."""

import datetime


def parse(text: str | None) -> datetime.datetime | None:
    """The time of an RFC 3339 text; None for none."""
    return datetime.datetime.fromisoformat(text) if text else None


def parse_noted(text: str | None) -> datetime.datetime | None:
    """The same of an annotation, which anybody may write: None for what is no time with its zone."""
    try:
        time = parse(text)
    except ValueError:
        return None
    return time if time is not None and time.tzinfo is not None else None


def show(time: datetime.datetime) -> str:
    """``time`` in UTC, to the second."""
    return time.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
