"""What can go wrong between the operator and the API server: few, typed; the name is the label of the metric."""


class ApiError(Exception):
    """A request that failed. ``message`` is the API server's own, for people."""

    def __init__(self, message: str, *, status: int = 0, what: str = "", retry_after: float | None = None) -> None:
        super().__init__(f"{what}: {message}" if what else message)
        self.message = message
        self.status = status
        self.what = what
        self.retry_after = retry_after
        """Seconds that the API server asks to wait, where it does."""


class NotFound(ApiError):
    """There is no such object, or no such kind (404)."""


class Conflict(ApiError):
    """The object is not as it was seen, or someone else owns a field (409): look again."""


class Gone(ApiError):
    """A page or a version is too old (410): list again."""


class RequestRefused(ApiError):
    """Validation, admission, a quota or permissions refuse the request (400, 401, 403, 413, 422)."""


class Throttled(ApiError):
    """Too many requests (429)."""


class Unavailable(ApiError):
    """The API server failed (5xx). The write may have happened."""


class Unreachable(ApiError):
    """No answer in time, or no connection. The write may have happened."""


class TooLong(ApiError):
    """The answer is longer than the operator reads."""


def error_of(status: int) -> type[ApiError]:
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
