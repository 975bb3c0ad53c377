"""Reads a model's small files from S3 with boto3, which the Run:ai streamer also uses for the weights."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from llmservice_contract import causes, mistral_format
from llmservice_contract.source import ObjectPrefix
from llmservice_runtime.launcher.command import has_role_alone
from llmservice_runtime.launcher.launcher import say
from llmservice_runtime.model.hub import retry_after
from llmservice_runtime.model.unavailable import Server, answered_within
from llmservice_runtime.model.unreadable import ModelUnreadable, one_line, parsed

CONFIG = "config.json"
CREDENTIALS, SERVICE_ACCOUNT = "spec.model.credentialsRef", "spec.serviceAccountName"
ROLE_OPERATIONS = ("AssumeRoleWithWebIdentity", "AssumeRole")
"""Requests that botocore sends to get the keys of a role."""
AGENT_REFUSES = re.compile(r"response 4(?!29)\d\d")
"""In botocore's message about the node's agent that gives a pod the keys of its role."""
PIECE_BYTES = 1024 * 1024
SECONDS = 20
"""A store that does not answer within this time is unreachable."""

OVERLOADED = frozenset(
    {
        "BandwidthLimitExceeded",
        "InternalError",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "TooManyRequestsException",
    }
)
"""Error codes of a store that is overloaded or has trouble of its own. Some have the status 400."""
_STORE = Server(causes.STORE_UNREACHABLE, say=say)

Answer = TypeVar("Answer")


def read_config(source: ObjectPrefix) -> dict[str, Any]:
    """Reads config.json below the prefix, or what params.json says in its place. Raises ModelUnreadable."""
    try:
        return parsed(read(source, CONFIG), f"{CONFIG} of {source.url}")
    except ModelUnreadable as error:
        if not error.is_missing_file:
            raise
        try:
            content = read(source, mistral_format.PARAMS)
        except ModelUnreadable as other:
            raise (other if other.is_transient else error) from None
    return mistral_format.as_config(parsed(content, f"{mistral_format.PARAMS} of {source.url}"))


def read(source: ObjectPrefix, name: str, most: int | None = None) -> bytes:
    """Reads the first bytes of an object below the prefix. Raises ModelUnreadable."""
    bucket, prefix = _place(source)

    def question(client: Any) -> bytes:
        content: bytes = client.get_object(Bucket=bucket, Key=f"{prefix}{name}")["Body"].read(most)
        return content

    return _ask(source, question)


def copy(source: ObjectPrefix, name: str, to: Path, most: int, seconds: float) -> int:
    """Copies an object below the prefix to the file `to` in small pieces. Returns its size in bytes; of one with more
    than `most`, at most so many are copied. Tries once, for up to ``seconds``. Raises ModelUnreadable."""
    bucket, prefix = _place(source)

    def question(client: Any) -> int:
        answer = client.get_object(Bucket=bucket, Key=f"{prefix}{name}")
        size: int = answer.get("ContentLength", 0)
        if size > most:
            return size
        size = 0  # a body of chunks may have another length than was said
        with to.open("wb") as file:
            for piece in answer["Body"].iter_chunks(PIECE_BYTES):
                size += len(piece)
                if size > most:
                    break
                file.write(piece)
        return size

    return _ask(source, question, once_within=seconds)


def weight_sizes(source: ObjectPrefix) -> dict[str, int]:
    """Sizes in bytes of the safetensors files directly below the prefix, by name. Raises ModelUnreadable."""
    return {name: entry["Size"] for name, entry in _weights(source).items()}


def weights_stated(source: ObjectPrefix) -> dict[str, str | None]:
    """The ETag of each of these files by name; None for one that has none. Raises ModelUnreadable."""
    return {name: entry.get("ETag", "").strip('"') or None for name, entry in _weights(source).items()}


def _weights(source: ObjectPrefix) -> dict[str, Any]:
    """The entries of the bucket's list."""
    bucket, prefix = _place(source)

    def question(client: Any) -> dict[str, Any]:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
        found = (each for page in pages for each in page.get("Contents", ()))
        return {each["Key"].removeprefix(prefix): each for each in found}

    return {name: entry for name, entry in _ask(source, question).items() if name.endswith(".safetensors")}


def _place(source: ObjectPrefix) -> tuple[str, str]:
    """The bucket and the key prefix."""
    bucket, _, prefix = source.url.removeprefix("s3://").partition("/")
    return bucket, f"{prefix.rstrip('/')}/"


def _ask(source: ObjectPrefix, question: Callable[[Any], Answer], once_within: float | None = None) -> Answer:
    """``once_within``: without tries of our own, within so many seconds."""
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import (
            ClientError,
            ConnectionError,
            CredentialRetrievalError,
            HTTPClientError,
            IncompleteReadError,
            NoCredentialsError,
        )
        from urllib3.exceptions import ProtocolError
    except ImportError:
        raise ModelUnreadable(causes.MODEL_UNREADABLE, "boto3 is not installed: use an image of the runtime.") from None
    # As the streamer does it, so that both can read the same objects.
    style = {"addressing_style": "path"} if os.environ.get("RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING") == "0" else {}
    limits = Config(connect_timeout=SECONDS, read_timeout=SECONDS, retries={"total_max_attempts": 3}, s3=style)

    def ask() -> Answer:
        try:
            return question(boto3.client("s3", config=limits))
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            is_overloaded = error.response.get("Error", {}).get("Code") in OVERLOADED
            if error.operation_name in ROLE_OPERATIONS and status in (400, 401, 403) and not is_overloaded:
                raise _role_not_given(error) from error
            raise _refusal(source, error.response) from error
        except NoCredentialsError:
            raise ModelUnreadable(
                causes.STORE_REFUSED,
                f"{source.url} can't be read without keys, and the pod has neither keys nor a role.",
                field=CREDENTIALS,
                fix=f"Name a Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in {CREDENTIALS}, or in "
                f"{SERVICE_ACCOUNT} a ServiceAccount to which the cloud binds a role.",
            ) from None
        except CredentialRetrievalError as error:
            if AGENT_REFUSES.search(str(error)):
                raise _role_not_given(error) from error
            raise _unavailable(f"The keys of the pod's role can't be had: {one_line(error)}") from error
        except (HTTPClientError, ConnectionError, IncompleteReadError, ProtocolError, OSError) as error:
            raise _unavailable(f"{source.url} could not be read: {one_line(error)}") from error
        except Exception as error:
            raise ModelUnreadable(
                causes.STORE_REFUSED,
                f"{source.url} could not be read: {one_line(error)}.",
                field=CREDENTIALS,
                fix=f"Check AWS_ENDPOINT_URL and AWS_REGION in the Secret of {CREDENTIALS}.",
            ) from error

    try:
        if once_within is not None:
            return answered_within(once_within, ask, causes.STORE_UNREACHABLE)
        return _STORE.ask(ask)
    except ModelUnreadable as error:
        if error.__cause__ is not None or not error.is_transient:
            raise
        # It took too long, so there is no answer to quote.
        said = str(error).rstrip(".")
        raise _unavailable(f"{source.url} gave {said[0].lower()}{said[1:]}") from None


def _unavailable(said: str, numbers: Mapping[str, str] | None = None, after: int = 0) -> ModelUnreadable:
    return ModelUnreadable(
        causes.STORE_UNREACHABLE,
        f"{said}.",
        field=CREDENTIALS,
        fix="It is tried again automatically. If it does not pass: check AWS_ENDPOINT_URL and AWS_REGION in the Secret "
        f"of {CREDENTIALS}, and that pods reach the store.",
        numbers=numbers,
        retry_after=after,
    )


def _role_not_given(error: Exception) -> ModelUnreadable:
    role = os.environ.get("AWS_ROLE_ARN", "")
    return ModelUnreadable(
        causes.STORE_REFUSED,
        f"The pod's ServiceAccount does not get its role{f' {role}' if role else ''}: {one_line(error)}.",
        field=SERVICE_ACCOUNT,
        fix="Check that the role trusts this namespace and ServiceAccount, and which role the annotation of the "
        "ServiceAccount names.",
    )


def _refusal(source: ObjectPrefix, response: Any) -> ModelUnreadable:
    said = response.get("Error", {})
    code, status = str(said.get("Code")), response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    bucket, _ = _place(source)
    if code in OVERLOADED or (isinstance(status, int) and (status in (408, 425, 429) or status >= 500)):
        headers = response.get("ResponseMetadata", {}).get("HTTPHeaders") or {}
        after = retry_after({"Retry-After": headers.get("retry-after", "")})
        numbers = {"status": str(status)} | ({"retryAfterSeconds": str(after)} if after else {})
        return _unavailable(f"The store answered {status} {code} for {source.url}", numbers, after)
    match code, status:
        case ("NoSuchBucket", _):
            return ModelUnreadable(
                causes.STORE_REFUSED, f"There is no bucket {bucket}.", fix="Put spec.model.source right."
            )
        case ("NoSuchKey", _) | (_, 404):
            return ModelUnreadable(
                causes.MODEL_UNREADABLE,
                f"{source.url} has no {CONFIG}, so it is no model.",
                fix="Point spec.model.source to the path that has it.",
                is_missing_file=True,
            )
        case (_, 401 | 403) if has_role_alone(os.environ):
            role = os.environ.get("AWS_ROLE_ARN") or "of the pod's ServiceAccount"
            return ModelUnreadable(
                causes.STORE_REFUSED,
                f"The store does not let the role {role} read {source.url}: {code}.",
                field=SERVICE_ACCOUNT,
                fix="Allow the role to get and list it (s3:GetObject, s3:ListBucket).",
                alternative="it does not exist: check spec.model.source" if code == "AccessDenied" else "",
            )
        case (_, 401 | 403):
            return ModelUnreadable(
                causes.STORE_REFUSED,
                f"The store does not let these keys read {source.url}: {code}.",
                field=CREDENTIALS,
                fix=f"Put keys that may get and list it into the Secret of {CREDENTIALS}.",
                alternative="it does not exist: check spec.model.source" if code == "AccessDenied" else "",
            )
    return ModelUnreadable(
        causes.STORE_REFUSED, f"The store answered {code} for {source.url}: {said.get('Message', '')}."
    )
