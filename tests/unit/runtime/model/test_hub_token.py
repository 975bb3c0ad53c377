"""A hub's token goes only to the hub that its Secret names."""

from __future__ import annotations

import pytest

from llmservice_contract.source import Directory, ObjectPrefix, Repository, Source
from llmservice_runtime.model.hub_token import check_token
from llmservice_runtime.model.unreadable import ModelUnreadable

OWN = Repository("org/tiny", "https://hub.example")
DEFAULT = Repository("org/tiny")
TOKEN = {"HF_TOKEN": "secret"}


@pytest.mark.parametrize(
    ("source", "environ"),
    [
        (DEFAULT, TOKEN),
        (DEFAULT, TOKEN | {"HF_TOKEN_ENDPOINT": "https://huggingface.co/"}),
        (DEFAULT, {"HF_TOKEN_ENDPOINT": "https://hub.example"}),
        (OWN, {}),
        (OWN, TOKEN | {"HF_TOKEN_ENDPOINT": "https://hub.example"}),
        (OWN, TOKEN | {"HF_TOKEN_ENDPOINT": "https://HUB.example:443/"}),
        (Directory("/models/tiny"), TOKEN),
        (ObjectPrefix("s3://bucket/tiny"), TOKEN),
    ],
)
def test_a_token_for_this_hub_passes(source: Source, environ: dict[str, str]) -> None:
    check_token(source, environ)


@pytest.mark.parametrize(
    ("source", "named"),
    [
        (OWN, ""),
        (OWN, "https://huggingface.co"),
        (OWN, "http://hub.example"),
        (OWN, "https://hub.example:8443"),
        (OWN, "https://hub.example.evil.example"),
        (OWN, "https://hub.example@evil.example"),
        (DEFAULT, "https://hub.example"),
    ],
)
def test_a_token_for_another_hub_is_not_sent(source: Source, named: str) -> None:
    with pytest.raises(ModelUnreadable) as raised:
        check_token(source, TOKEN | {"HF_TOKEN_ENDPOINT": named})
    assert raised.value.finding.field == "spec.model.credentialsRef"
    assert "secret" not in str(raised.value)
