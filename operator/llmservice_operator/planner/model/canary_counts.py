"""How requests to a canary and to the old replicas ended, as the gateway has counted them."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class RequestCounts:
    """The requests of one side."""

    requests: int = 0
    failed: int = 0
    timed: int = 0
    """Requests with a measured time to the first byte."""
    log_sum: float = 0.0
    """Sum of the natural logarithms of these times in seconds."""
    log_squares: float = 0.0
    """Sum of their squares."""

    def __add__(self, other: "RequestCounts") -> "RequestCounts":
        """The sum."""
        names = (field.name for field in dataclasses.fields(self))
        return RequestCounts(*(getattr(self, name) + getattr(other, name) for name in names))

    @property
    def failed_ratio(self) -> float:
        """Failed requests by all; 0 without any."""
        return self.failed / self.requests if self.requests else 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class CanaryCounts:
    """Both sides, since the canary began."""

    canary: RequestCounts = RequestCounts()
    old: RequestCounts = RequestCounts()
    braked: bool = False
    """Whether a gateway sends no more requests to the canary, because too many failed or were slow."""
    ranked: int = 0
    """Requests to the canary whose time to the first byte was compared with those of similar requests."""
    slow: int = 0
    """Those that took longer than the allowed multiple of the others', but for the longest quarter."""

    def __add__(self, other: "CanaryCounts") -> "CanaryCounts":
        """The sum of two gateways."""
        return CanaryCounts(
            self.canary + other.canary,
            self.old + other.old,
            self.braked or other.braked,
            self.ranked + other.ranked,
            self.slow + other.slow,
        )


NO_COUNTS = CanaryCounts()
