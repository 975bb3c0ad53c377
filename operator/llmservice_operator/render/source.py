"""Where a model lies, taken apart: what the engine is told, what is mounted, which credentials apply."""

import dataclasses
import enum

from llmservice_contract.container import MODELS_PATH


class Scheme(enum.StrEnum):
    """Kind of a model's source."""

    CLAIM = "pvc"
    HUB = "hf"
    HTTPS = "https"
    S3 = "s3"


@dataclasses.dataclass(frozen=True)
class Source:
    """A model's source."""

    scheme: Scheme
    model: str
    """What the engine is told to serve: a path, a repository ORG/NAME, or an s3:// address."""
    claim: str | None = None
    """PersistentVolumeClaim to mount at ``/models``."""
    endpoint: str | None = None
    """URL of the hub, where it is not the usual one."""

    @property
    def hub(self) -> bool:
        """Whether the weights are downloaded from a hub."""
        return self.scheme in (Scheme.HUB, Scheme.HTTPS)


def parse(source: str) -> Source:
    """Take ``spec.model.source`` apart. Raises ValueError with a sentence for the user."""
    scheme_text, _, rest = source.partition("://")
    scheme = Scheme(scheme_text)
    rest = rest.rstrip("/")
    match scheme:
        case Scheme.CLAIM:
            claim, _, path = rest.partition("/")
            return Source(scheme, f"{MODELS_PATH}/{path}".rstrip("/"), claim=claim)
        case Scheme.HUB:
            return Source(scheme, rest)
        case Scheme.S3:
            return Source(scheme, source)
        case Scheme.HTTPS:
            parts = rest.split("/")
            if len(parts) != 3 or not all(parts):
                raise ValueError(f"spec.model.source {source} is not https://HOST/ORG/NAME, a repository of a hub")
            return Source(scheme, "/".join(parts[1:]), endpoint=f"https://{parts[0]}")
