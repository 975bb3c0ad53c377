"""Errors of commands: few types, each with a message for people."""


class Failure(Exception):
    """Its text is the message for the user: what is wrong, where, what to do."""


class Missing(Failure):
    """The object does not exist (404)."""


def no_such_service(service: object) -> Failure:
    """The failure of a command for a service that does not exist."""
    return Failure(f"there is no {service}: `kubectl get llms -A` lists those that you can see")


class Forbidden(Failure):
    """The user lacks the permission (403)."""


class Clash(Failure):
    """The object exists already, or was changed since it was read (409)."""


class RefusedByServer(Failure):
    """The API server rejects the object as invalid (422)."""

    def __init__(self, text: str, message: str) -> None:
        super().__init__(text)
        self.message = message
        """The message of the API server."""


class TooLarge(RefusedByServer):
    """The object would be larger than the API server or etcd accepts."""


class TooLong(Failure):
    """The API server's response is larger than the limit."""


class Unprinted(Failure):
    """The result could not be written to stdout."""


class Uncertain(Failure):
    """A write without a response, or with a server error: it may have happened."""
