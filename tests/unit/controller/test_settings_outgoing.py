"""The operator's settings for proxy and CAs: what is refused, and that no private key is copied."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmservice_operator.config.outgoing import MOST_BUNDLE_BYTES
from llmservice_operator.config.settings import Settings, SettingsError, from_environment, with_files
from llmservice_operator.resources.platform import Proxy
from support.authority import Authority


def settings(**environment: str) -> Settings:
    return from_environment({"LLMSERVICE_NAMESPACE": "system", **environment})


def test_a_proxy() -> None:
    given = {
        "http": "",
        "https": "http://[fd00::5]:3128/",
        "noProxy": [".a.example", "fd00::7", "10.0.0.0/8", "h:8080", "*.b"],
    }
    found = settings(LLMSERVICE_PROXY=json.dumps(given)).platform.proxy
    assert found == Proxy("", "http://[fd00::5]:3128", (".a.example", "fd00::7", "10.0.0.0/8", "h:8080", "*.b"))
    assert settings(LLMSERVICE_PROXY='{"http": "", "noProxy": [".a"]}').platform.proxy is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"https": "http://user:secret@proxy:3128"}, "without user and password"),
        ({"https": "proxy:3128"}, "https must be a URL"),
        ({"http": "http://proxy"}, "http must be a URL"),
        ({"http": 5}, "http must be a URL"),
        ({"noProxy": ".a,.b"}, "noProxy must be a list"),
        ({"noProxy": ["a,b"]}, "noProxy[0]"),
        ({"noProxy": ["fd00::/8"]}, "noProxy[0]"),
        ({"noProxy": ["a", "a\nb"]}, "noProxy[1]"),
        ({"noProxy": ["a"] * 257}, "at most 256"),
        ({"all": "http://proxy:1"}, "all is unknown"),
    ],
)
def test_what_is_wrong_with_a_proxy_is_said(given: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError) as error:
        settings(LLMSERVICE_PROXY=json.dumps(given))
    assert words in str(error.value)
    assert "LLMSERVICE_PROXY" in str(error.value)


def test_only_certificates_leave_the_file(tmp_path: Path) -> None:
    authority = Authority("Company")
    _, key = authority.issue(tmp_path, "server", ["a.example"])
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(f"# Company\n{key.read_text()}{authority.write(tmp_path).read_text()}password=secret\n")
    given = settings(LLMSERVICE_CA_BUNDLE=str(bundle))
    assert given.platform.ca_bundle == "", "a client that has no such file knows that there are some"
    found = with_files(given).platform.ca_bundle
    assert found == (tmp_path / "ca.crt").read_text()
    assert with_files(settings()).platform.ca_bundle is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        ("", "has no certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1 of 1"),
        ("x" * (MOST_BUNDLE_BYTES + 1), "more than"),
    ],
)
def test_a_bundle_that_can_not_be_used_ends_the_start(tmp_path: Path, content: str | None, words: str) -> None:
    path = tmp_path / "bundle.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError) as error:
        with_files(settings(LLMSERVICE_CA_BUNDLE=str(path)))
    assert words in str(error.value)
