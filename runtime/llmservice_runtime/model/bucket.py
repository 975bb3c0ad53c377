"""Reads a model's small files from S3 with boto3, which the Run:ai streamer also uses for the weights."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from llmservice_contract import causes
from llmservice_contract.source import ObjectPrefix
from llmservice_runtime.model import mistral
from llmservice_runtime.model.unreadable import ModelUnreadable, one_line, parsed

CONFIG = "config.json"
CREDENTIALS = "spec.model.credentialsRef"
SECONDS = 20
"""A store that does not answer within this time is unreachable."""

Answer = TypeVar("Answer")


def read_config(source: ObjectPrefix) -> dict[str, Any]:
    """Reads config.json below the prefix, or what params.json says in its place. Raises ModelUnreadable."""
    try:
        return parsed(read(source, CONFIG), f"{CONFIG} of {source.url}")
    except ModelUnreadable as error:
        if not error.is_missing_file:
            raise
        try:
            content = read(source, mistral.PARAMS)
        except ModelUnreadable:
            raise error from None
    return mistral.as_config(parsed(content, f"{mistral.PARAMS} of {source.url}"))


def read(source: ObjectPrefix, name: str, most: int | None = None) -> bytes:
    """Reads the first bytes of an object below the prefix. Raises ModelUnreadable."""
    bucket, prefix = _place(source)

    def question(client: Any) -> bytes:
        content: bytes = client.get_object(Bucket=bucket, Key=f"{prefix}{name}")["Body"].read(most)
        return content

    return _ask(source, question)


def weight_sizes(source: ObjectPrefix) -> dict[str, int]:
    """Sizes in bytes of the safetensors files directly below the prefix, by name. Raises ModelUnreadable."""
    bucket, prefix = _place(source)

    def question(client: Any) -> dict[str, int]:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
        found = (each for page in pages for each in page.get("Contents", ()))
        return {each["Key"].removeprefix(prefix): each["Size"] for each in found}

    return {name: size for name, size in _ask(source, question).items() if name.endswith(".safetensors")}


def _place(source: ObjectPrefix) -> tuple[str, str]:
    """The bucket and the key prefix."""
    bucket, _, prefix = source.url.removeprefix("s3://").partition("/")
    return bucket, f"{prefix.rstrip('/')}/"


def _ask(source: ObjectPrefix, question: Callable[[Any], Answer]) -> Answer:
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import ClientError, NoCredentialsError
    except ImportError:
        raise ModelUnreadable(causes.MODEL_UNREADABLE, "boto3 is not installed: use an image of the runtime.") from None
    # As the streamer does it, so that both can read the same objects.
    style = {"addressing_style": "path"} if os.environ.get("RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING") == "0" else {}
    limits = Config(connect_timeout=SECONDS, read_timeout=SECONDS, retries={"total_max_attempts": 3}, s3=style)
    try:
        return question(boto3.client("s3", config=limits))
    except ClientError as error:
        raise _refusal(source, error.response) from error
    except NoCredentialsError:
        raise ModelUnreadable(
            causes.STORE_REFUSED,
            f"{source.url} can't be read without keys, and no keys are set.",
            field=CREDENTIALS,
            fix=f"Name a Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in {CREDENTIALS}.",
        ) from None
    except Exception as error:
        raise ModelUnreadable(
            causes.STORE_REFUSED,
            f"{source.url} could not be read: {one_line(error)}.",
            field=CREDENTIALS,
            fix=f"Check AWS_ENDPOINT_URL and AWS_REGION in the Secret of {CREDENTIALS}, and that pods reach the store.",
        ) from error


def _refusal(source: ObjectPrefix, response: Any) -> ModelUnreadable:
    said = response.get("Error", {})
    code, status = str(said.get("Code")), response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    bucket, _ = _place(source)
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
