"""nginx.conf of the gateway, from the platform's settings alone."""

import dataclasses
import re
from pathlib import Path

import jinja2

LUA = Path(__file__).parent / "lua"
"""The Lua modules that NGINX loads."""
MODULES = Path("/usr/lib/nginx/modules")

_PLAIN = re.compile(r"[A-Za-z0-9_.:/-]*")


@dataclasses.dataclass(frozen=True)
class Configuration:
    """What nginx.conf depends on."""

    directory: Path
    """Where NGINX writes: its process id, its control socket and temporary files."""
    namespace: str = ""
    """The namespace of paths that name none. Empty: each path has to name one."""
    domain: str = ""
    """Below it are host names of namespaces and services. Empty: paths alone."""
    address: str = "0.0.0.0"  # noqa: S104 (a Service sends requests to the pod's address)
    ipv6: bool = False
    """Whether to listen on all IPv6 addresses, too."""
    port: int = 8000
    metrics_port: int = 9090
    tls: Path | None = None
    """A directory with tls.crt and tls.key. None: no TLS."""
    workers: int = 2
    connections: int = 8192
    """Maximum number of connections of one worker, to clients and replicas."""
    body_bytes: int = 32 * 2**20
    held_bytes: int = 512 * 2**20
    """Maximum size of all bodies in work; a namespace gets half of it."""
    body_seconds: float = 10
    """How long a body may take, and one second more for each `body_rate` bytes of it that have come."""
    body_rate: int = 32 * 2**10
    hold_seconds: int = 600
    """How long a request for a service at zero may wait for a replica. 0: it does not wait."""
    hold_requests: int = 1024
    """Maximum number of such requests; a namespace gets half of it, a service a quarter."""
    client_requests: int = 2048
    """Maximum number of requests of one client's address at a time. 0: no limit."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks of proxies whose header X-Forwarded-For says which address is the client's."""
    batches_bytes: int = 0
    """Maximum size of a file of a batch. 0: there are no files and batches."""
    affinity_megabytes: int = 64
    read_seconds: int = 620
    """How long a replica may send nothing."""
    shutdown_seconds: int = 3600
    """How long old workers may finish their streams after a reload."""
    user: str = ""
    """The user of worker processes, if NGINX starts as root."""
    modules: Path = MODULES
    lua: Path = LUA


def render(configuration: Configuration) -> str:
    """nginx.conf. Raises ValueError if a setting has a character that has a meaning for NGINX."""
    values = {field.name: getattr(configuration, field.name) for field in dataclasses.fields(configuration)}
    for name, value in values.items():
        if isinstance(value, tuple):
            value = ":".join(value)
        if isinstance(value, (str, Path)) and not _PLAIN.fullmatch(str(value)):
            raise ValueError(f"{name} is {str(value)!r}, but may have letters, digits and _ . : / - only")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 (the output is no HTML; the values were checked above)
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("nginx.conf.j2").render(values)
