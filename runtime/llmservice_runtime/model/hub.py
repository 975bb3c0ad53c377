"""Reads a model's small files from a hub with huggingface_hub, which vLLM also uses."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from llmservice_contract import causes, mistral_format
from llmservice_contract.source import Repository
from llmservice_runtime.launcher.launcher import say
from llmservice_runtime.model.unavailable import TRY_SECONDS, Server, answered_within
from llmservice_runtime.model.unreadable import NAMES_READ, ModelUnreadable, one_line, read_json, root_cause

CONFIG = "config.json"
GATED = "it is gated, and its licence has not been accepted, or no token of who accepted it is given"


COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
MOST_CAUSES = 20
MOST_RETRY_AFTER = 3600


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a repository at one revision."""

    commit: str | None
    """The commit of the revision; None if the hub reports none."""
    sizes: Mapping[str, int]
    """Sizes in bytes by path."""
    stated: Mapping[str, str | None] = field(default_factory=dict)
    """SHA-256 of each file by path; None for a file of which the hub states none."""


HUB_FIX = (
    "It is tried again automatically. If it does not pass: check the address in spec.model.source, network policies "
    "and the chart value runtime.proxy; or serve the model from a pvc://."
)
CERTIFICATE_FIX = (
    "Let the platform team put the CA of the hub's certificate into the chart value runtime.caBundle; or serve the "
    "model from a pvc://."
)
_SERVERS: dict[str | None, Server] = {}
"""The hubs that were asked, by their address."""


def listing(source: Repository, revision: str | None) -> Listing:
    """Lists the repository. Raises ModelUnreadable."""
    info = _ask(source, revision, lambda api: api.model_info(source.name, revision=revision, files_metadata=True))
    commit = info.sha if isinstance(info.sha, str) and COMMIT.fullmatch(info.sha) else None
    files = info.siblings or ()
    return Listing(
        commit, {file.rfilename: file.size or 0 for file in files}, {file.rfilename: _sha256(file) for file in files}
    )


def _sha256(file: Any) -> str | None:
    text = getattr(getattr(file, "lfs", None), "sha256", None)
    return text if isinstance(text, str) and SHA256.fullmatch(text) else None


@lru_cache(maxsize=8)
def names(source: Repository, revision: str | None) -> Sequence[str]:
    """Paths of the files. Raises ModelUnreadable. Asks once, because some mirrors have no list of files."""

    def question(api: Any) -> Sequence[str]:
        return tuple(api.list_repo_files(source.name, revision=revision))

    found: Sequence[str] = _ask(source, revision, question, once=True)
    return found


def check_available(source: Repository, revision: str | None, *, is_cached: bool) -> None:
    """Raises ModelUnreadable if the hub refuses or is unavailable. If the local cache has the model, a hub that is
    unavailable is asked only once, with the client's own retries."""
    # A download could come from the local cache.
    _ask(source, revision, lambda api: api.file_exists(source.name, CONFIG, revision=revision), once=is_cached)


def is_offline() -> bool:
    """Whether this process asks no hub: HF_HUB_OFFLINE is set."""
    try:
        from huggingface_hub import constants
    except ImportError:
        return False
    return bool(constants.is_offline_mode())


def go_offline() -> None:
    """This process no longer asks any hub."""
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = True


def snapshot(source: Repository, revision: str | None) -> Path | None:
    """The directory of the repository at the revision in the local cache, where files may be missing; None if there is
    none. Uses no network."""
    try:
        from huggingface_hub import HfApi
    except ImportError:
        return None
    try:
        folder = HfApi(endpoint=source.endpoint).snapshot_download(
            source.name, revision=revision, local_files_only=True, ignore_patterns="*"
        )
    except Exception:
        return None
    return Path(folder)


def cached_names(source: Repository, revision: str | None) -> list[str]:
    """Names of files in the local cache; none if that is unknown."""
    try:
        from huggingface_hub import constants
    except ImportError:
        return []
    snapshots = Path(constants.HF_HUB_CACHE) / f"models--{source.name.replace('/', '--')}" / "snapshots"
    try:
        at_commit = revision is not None and COMMIT.fullmatch(revision)
        places = [snapshots / revision] if revision and at_commit else list(islice(snapshots.iterdir(), NAMES_READ))
        return [entry.name for place in places for entry in islice(place.iterdir(), NAMES_READ)]
    except OSError:
        return []


def read_config(source: Repository, revision: str | None) -> dict[str, Any]:
    """Reads config.json of the repository, or what params.json says in its place. Raises ModelUnreadable."""
    try:
        return read_json(download(source, revision, CONFIG), f"{CONFIG} of {source.name}")
    except ModelUnreadable as error:
        if not error.is_missing_file:
            raise
        try:
            path = download(source, revision, mistral_format.PARAMS)
        except ModelUnreadable as other:
            raise (other if other.is_transient else error) from None
    return mistral_format.as_config(read_json(path, f"{mistral_format.PARAMS} of {source.name}"))


@lru_cache(maxsize=32)
def download(source: Repository, revision: str | None, name: str) -> Path:
    """Downloads one of its files, and returns its path in the client's cache. Raises ModelUnreadable."""
    return Path(_ask(source, revision, lambda api: api.hf_hub_download(source.name, name, revision=revision)))


def download_into(source: Repository, revision: str | None, name: str, directory: Path, seconds: float) -> Path:
    """Downloads one of its files to `directory`/`name`, past the client's cache, and returns that path. Tries once, for
    up to ``seconds``. Raises ModelUnreadable."""

    def question(api: Any) -> str:
        path: str = api.hf_hub_download(source.name, name, revision=revision, local_dir=directory)
        return path

    return Path(_ask(source, revision, question, once=True, seconds=seconds))


def _ask(
    source: Repository,
    revision: str | None,
    question: Callable[[Any], Any],
    *,
    once: bool = False,
    seconds: float = TRY_SECONDS,
) -> Any:
    """``once``: without tries of our own, within ``seconds``."""
    try:
        from huggingface_hub import HfApi, constants
    except ImportError:
        raise ModelUnreadable(
            causes.MODEL_UNREADABLE, "huggingface_hub is not installed: use an image of the runtime."
        ) from None
    where = _where(source)

    def ask() -> Any:
        try:
            return question(HfApi(endpoint=source.endpoint))
        except Exception as error:
            raise _unreadable(where, revision, error) from error

    try:
        if constants.is_offline_mode():
            return ask()
        if once:
            return answered_within(seconds, ask, causes.HUB_UNREACHABLE)
        return _server(source).ask(ask)
    except ModelUnreadable as error:
        if error.__cause__ is not None:
            raise
        # It took too long, so there is no answer to quote.
        raise _unavailable(f"{where} gave {str(error)[0].lower()}{str(error)[1:].rstrip('.')}") from None


def _server(source: Repository) -> Server:
    return _SERVERS.setdefault(source.endpoint, Server(causes.HUB_UNREACHABLE, say=say))


def _where(source: Repository) -> str:
    from huggingface_hub import constants

    return f"{source.name} at {source.endpoint or constants.ENDPOINT}"


def _unreadable(where: str, revision: str | None, error: Exception) -> ModelUnreadable:
    """What an error of the client means."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if isinstance(error, HFValidationError):
        return ModelUnreadable(
            causes.HUB_REFUSED, f"{where}: {one_line(error)}.", fix="Check the name in spec.model.source."
        )
    response = _response(error)
    status = getattr(response, "status_code", None)
    if isinstance(status, int) and (status in (408, 425, 429) or status >= 500):
        after = retry_after(response.headers)
        asked = f", and asks for {after} s of patience" if after else ""
        said = f"{where} answered {status}{asked}"
        return _unavailable(said, {"status": str(status)} | ({"retryAfterSeconds": str(after)} if after else {}), after)
    if isinstance(error, HfHubHTTPError):
        return _refusal(where, revision, error)
    said = f"{where} could not be read: {one_line(root_cause(error))}"
    return _unavailable(said, fix=CERTIFICATE_FIX if "CERTIFICATE_VERIFY_FAILED" in said else HUB_FIX)


def _unavailable(
    said: str, numbers: Mapping[str, str] | None = None, after: int = 0, fix: str = HUB_FIX
) -> ModelUnreadable:
    return ModelUnreadable(causes.HUB_UNREACHABLE, f"{said}.", fix=fix, numbers=numbers, retry_after=after)


def _response(error: BaseException | None) -> Any:
    """The hub's response in an error or in one of its causes; None if it did not respond."""
    for _ in range(MOST_CAUSES):
        if error is None:
            return None
        response = getattr(error, "response", None)
        if response is not None:
            return response
        error = error.__cause__ or error.__context__
    return None


def retry_after(headers: Mapping[str, str]) -> int:
    """Seconds in the header Retry-After, up to an hour; 0 if it has none."""
    value = str(headers.get("Retry-After") or "").strip()
    return min(MOST_RETRY_AFTER, int(value[:9])) if value.isascii() and value.isdigit() else 0


def _refusal(where: str, revision: str | None, error: Any) -> ModelUnreadable:
    response = getattr(error, "response", None)
    status, code = getattr(response, "status_code", None), getattr(response, "headers", {}).get("X-Error-Code", "")
    match status:
        case 401 | 403:
            return ModelUnreadable(
                causes.HUB_REFUSED,
                f"{where} answered {status}: {GATED if code == 'GatedRepo' else 'this token may not read it'}.",
                field="spec.model.credentialsRef",
                fix="Accept the model's licence on the hub, and put a token of that account as HF_TOKEN into the "
                "Secret of spec.model.credentialsRef.",
                alternative=""
                if code == "GatedRepo" or status == 403
                else "it does not exist: check spec.model.source",
            )
        case 404 if code == "RevisionNotFound":
            return ModelUnreadable(
                causes.HUB_REFUSED,
                f"{where} answered 404: there is no revision {revision or 'main'}.",
                field="spec.model.revision",
                fix="Set spec.model.revision to a commit, tag or branch of the repository.",
            )
        case 404 if code == "EntryNotFound":
            return ModelUnreadable(
                causes.MODEL_UNREADABLE,
                f"{where} answered 404: it has no {CONFIG}, so it is no model that vLLM loads.",
                fix="Choose a repository with the model's config.json and *.safetensors.",
                is_missing_file=True,
            )
        case 404:
            at = f" at revision {revision}" if revision else ""
            return ModelUnreadable(
                causes.HUB_REFUSED,
                f"{where} answered 404: there is no such repository{at}.",
                fix="Check the name in spec.model.source; for a private one, put a token that may read it as HF_TOKEN "
                "into the Secret of spec.model.credentialsRef.",
                alternative="it is private, and this token may not see it",
            )
    return ModelUnreadable(
        causes.HUB_REFUSED,
        f"{where} answered {status or 'with an error'}: {one_line(error)}.",
        alternative="the hub has a trouble of its own, which passes" if status is None else "",
    )
