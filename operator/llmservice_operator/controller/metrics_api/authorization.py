"""Authorization: a SubjectAccessReview, so that the API server's own authorizers decide.

The permission to read a metric in all namespaces is checked first and cached, so that a cluster with a thousand
namespaces costs no more than one with ten. Allowed is cached for 30 s, denied for 10 s. If the API server can't be
asked, the request fails.
"""

import dataclasses
from typing import Any

from llmservice_operator.autoscaling.external_metrics import API_GROUP, API_VERSION
from llmservice_operator.controller.client.api import Cluster
from llmservice_operator.controller.client.single_flight import SingleFlight
from llmservice_operator.controller.metrics_api.authentication import MOST_ANSWERS, MOST_ASKED, User
from llmservice_operator.controller.metrics_api.documents import StatusError
from llmservice_operator.resources.kinds import ACCESS_REVIEW

ALLOWED_SECONDS = 30.0
DENIED_SECONDS = 10.0

VERB = "list"
"""The verb for reading an external metric."""


@dataclasses.dataclass(frozen=True)
class Metric:
    """Reading one metric of a namespace; an empty namespace means all namespaces."""

    namespace: str
    name: str

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes in a SubjectAccessReview."""
        resource = {"group": API_GROUP, "version": API_VERSION, "resource": self.name}
        return {"resourceAttributes": {"verb": VERB, "namespace": self.namespace, **resource}}

    def __str__(self) -> str:
        return f'{VERB} resource "{self.name}" in API group "{API_GROUP}" in the namespace "{self.namespace}"'


@dataclasses.dataclass(frozen=True)
class Path:
    """Reading a discovery document."""

    path: str

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes in a SubjectAccessReview."""
        return {"nonResourceAttributes": {"verb": "get", "path": self.path}}

    def __str__(self) -> str:
        return f'get path "{self.path}"'


class Authorization:
    """Checks permissions, with a cache."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._allowed: SingleFlight[tuple[User, Metric | Path], bool] = SingleFlight(MOST_ANSWERS, at_once=MOST_ASKED)

    async def check(self, user: User, what: Metric | Path) -> None:
        """Raises StatusError 403 if ``user`` may not, and ApiError or Busy if the API server can't be asked."""
        if isinstance(what, Metric) and await self._may(user, Metric("", what.name)):
            return
        if not await self._may(user, what):
            raise StatusError(403, f'forbidden: User "{user.name}" cannot {what}')

    async def _may(self, user: User, what: Metric | Path) -> bool:
        return await self._allowed.get(
            (user, what),
            lambda: self._review(user, what),
            lambda allowed: ALLOWED_SECONDS if allowed else DENIED_SECONDS,
        )

    async def _review(self, user: User, what: Metric | Path) -> bool:
        extra = {name: list(values) for name, values in user.extra}
        who = {"user": user.name, "uid": user.uid, "groups": list(user.groups), "extra": extra}
        status = await self._cluster.review(ACCESS_REVIEW, {**who, **what.attributes})
        return status.get("allowed") is True and status.get("denied") is not True
