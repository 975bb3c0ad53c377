"""The operator's clock."""

import datetime


def utc_now() -> datetime.datetime:
    """The present time, in UTC."""
    return datetime.datetime.now(datetime.UTC)
