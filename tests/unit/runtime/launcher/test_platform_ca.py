"""The runtime trusts the platform's CAs beside the public ones, in every library."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

import pytest

from llmservice_runtime.launcher.platform_ca import MOST_BYTES, VARIABLES, trust_platform_ca
from llmservice_runtime.launcher.settings import WrongSettings
from support.authority import Authority


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_without_the_variable_nothing_changes(scratch: Path) -> None:
    environ = {"SSL_CERT_FILE": "/x"}
    trust_platform_ca(environ)
    assert environ == {"SSL_CERT_FILE": "/x"}
    assert not list(scratch.iterdir())


def test_one_file_has_the_public_cas_and_the_platforms(tmp_path: Path, scratch: Path) -> None:
    public, own = Authority("Public"), Authority("Company")
    environ = {"SSL_CERT_FILE": str(public.write(tmp_path, "public.crt")), "PLATFORM_CA": str(own.write(tmp_path))}
    trust_platform_ca(environ)
    trust_platform_ca(environ)
    (bundle,) = scratch.iterdir()
    assert {environ[name] for name in VARIABLES} == {str(bundle)}
    context = ssl.create_default_context(cafile=str(bundle))
    trusted = {dict(part[0] for part in each["subject"]).get("commonName") for each in context.get_ca_certs()}
    assert {"Public", "Company"} <= trusted


def test_a_link_that_lies_in_its_place_is_not_followed(tmp_path: Path, scratch: Path) -> None:
    environ = {"PLATFORM_CA": str(Authority("Company").write(tmp_path))}
    trust_platform_ca(environ)
    (bundle,) = scratch.iterdir()
    other = tmp_path / "other"
    other.write_text("as it was")
    bundle.unlink()
    bundle.symlink_to(other)
    trust_platform_ca(environ)
    assert other.read_text() == "as it was"
    assert not bundle.is_symlink()


@pytest.mark.parametrize("content", [None, "", "no certificate", "x" * (MOST_BYTES + 1), "\N{SNOWMAN}"])
def test_what_is_no_ca_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.crt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(WrongSettings, match=r"runtime\.caBundle"):
        trust_platform_ca({"PLATFORM_CA": str(path)})
