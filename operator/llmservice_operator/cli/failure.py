"""Why a command did not do what was asked: few, typed, each with a sentence for people."""


class Failure(Exception):
    """Its text is what the person reads: what was wrong, where, what to do."""


class Missing(Failure):
    """There is no such object (404)."""


def no_such_service(service: object) -> Failure:
    """The failure of a command that is given the name of a service that is not there."""
    return Failure(f"there is no {service}: `kubectl get llms -A` lists those that you can see")


class Forbidden(Failure):
    """The person has no right to it (403)."""


class Clash(Failure):
    """The object is there already, or not as it was seen (409)."""


class RefusedByServer(Failure):
    """The API server finds the object wrong (422)."""

    def __init__(self, text: str, message: str) -> None:
        super().__init__(text)
        self.message = message
        """The API server's own words."""


class TooLarge(RefusedByServer):
    """The object would be larger than the API server or its store takes."""


class TooLong(Failure):
    """The API server's answer is longer than is read."""


class Unprinted(Failure):
    """The result could not be written to stdout."""


class Uncertain(Failure):
    """A write without an answer, or with that of a failing server: it may have happened."""
