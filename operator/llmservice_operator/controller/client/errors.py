"""Errors of requests to the API server. The name of the class is the label of the metric."""


class ApiError(Exception):
    """A failed request. ``message`` is the API server's message."""

    def __init__(self, message: str, *, status: int = 0, what: str = "", retry_after: float | None = None) -> None:
        super().__init__(f"{what}: {message}" if what else message)
        self.message = message
        self.status = status
        self.what = what
        self.retry_after = retry_after
        """Seconds after which the API server asks to retry; None if it does not."""


class NotFound(ApiError):
    """The object or the kind does not exist (404)."""


class Conflict(ApiError):
    """The object has changed, or another manager owns a field (409): read it again."""


class Gone(ApiError):
    """A page or a version is too old (410): list again."""


class RequestRefused(ApiError):
    """The request was rejected by validation, admission, a quota or permissions (400, 401, 403, 413, 422)."""


class Throttled(ApiError):
    """Too many requests (429)."""


class Unavailable(ApiError):
    """The API server failed (5xx). The write may have happened."""


class Unreachable(ApiError):
    """No response in time, or no connection. The write may have happened."""


class TooLong(ApiError):
    """The response is longer than the operator reads."""


def error_type(status: int) -> type[ApiError]:
    """The error for an HTTP status of 400 or above."""
    match status:
        case 404:
            return NotFound
        case 409:
            return Conflict
        case 410:
            return Gone
        case 429:
            return Throttled
        case _ if status >= 500:
            return Unavailable
        case _:
            return RequestRefused
