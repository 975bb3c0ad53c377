"""Models from a hub and a store with certificates of a private CA, behind a forward proxy: their hosts are known to the
proxy alone. The variables are those that the operator renders."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from builders.services import a_service
from llmservice_contract.container import PLATFORM_CA_VARIABLE
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import outgoing
from llmservice_operator.resources.platform import Platform, Proxy
from support.authority import Authority
from support.campaign import FULL
from support.engine import ROOT, Engine, make_model, vllm_python
from support.forward_proxy import ForwardProxy, serve_forward_proxy, serve_tls
from support.hub import PUBLIC, serve_hub
from support.short_waits import with_short_waits
from support.store import serve_store

HUB, STORE = "hub.corp.example", "s3.corp.example"
SOURCE = f"https://{HUB}/{PUBLIC}"
KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
AT_STORE = {**KEYS, "AWS_ENDPOINT_URL": f"https://{STORE}", "RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING": "0"}


@dataclass
class Company:
    """Its network, as pods see it."""

    proxy: ForwardProxy
    ca: Path

    def environ(self, **changes: str) -> dict[str, str]:
        """What a pod has: of this process' variables none that says something of networks."""
        platform = Platform(proxy=Proxy(self.proxy.url, self.proxy.url), ca_bundle="")
        spec = LLMServiceSpec.model_validate(a_service("chat").build()["spec"])
        own = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG"}}
        made = outgoing.variables(spec, platform) | {
            PLATFORM_CA_VARIABLE: str(self.ca),
            "HF_ENDPOINT": f"https://{HUB}",
        }
        return own | {name: value for name, value in (made | changes).items() if value}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("hub") / "model")


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Company]:
    folder, authority = tmp_path_factory.mktemp("company"), Authority("Company CA")
    of_hub, of_store = authority.issue(folder, "hub", [HUB]), authority.issue(folder, "store", [STORE])
    objects = {f"llms/tiny/{file.name}": file.read_bytes() for file in model.iterdir()}
    with (
        serve_hub(model) as hub,
        serve_store("bucket", objects) as store,
        serve_tls(*of_hub, _place(hub)) as tls_hub,
        serve_tls(*of_store, _place(store)) as tls_store,
        serve_forward_proxy({f"{HUB}:443": tls_hub, f"{STORE}:443": tls_store}) as proxy,
    ):
        yield Company(proxy, authority.write(folder))


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    return parts.hostname, parts.port


def inspect(source: str, directory: Path, environ: dict[str, str], *program: str) -> Any:
    own = {"MODEL_NAME": source, "HOME": str(directory), "HF_HOME": str(directory / "hf"), "TMPDIR": str(directory)}
    own |= {"PYTHONPATH": str(ROOT / "runtime"), "TERMINATION_LOG": str(directory / "termination-log")}
    command = [vllm_python(), *(program or ("-m", "llmservice_runtime", "inspect"))]
    done = subprocess.run(command, env=environ | own, capture_output=True, text=True, timeout=180)
    return json.loads(done.stdout)


def test_an_inspection_reads_the_hub_through_the_proxy(company: Company, tmp_path: Path) -> None:
    company.proxy.asked.clear()
    facts = inspect(SOURCE, tmp_path, company.environ())
    assert facts["configuration"]
    assert set(company.proxy.asked) == {f"{HUB}:443"}


@pytest.mark.parametrize(
    ("lost", "words"), [("proxy", ""), ("ca", "CERTIFICATE_VERIFY_FAILED")], ids=["no proxy", "no CA"]
)
def test_without_one_of_both_the_hub_is_unreachable(company: Company, tmp_path: Path, lost: str, words: str) -> None:
    names = [PLATFORM_CA_VARIABLE] if lost == "ca" else ["HTTPS_PROXY", "https_proxy"]
    environ = company.environ(**dict.fromkeys(names, ""))
    failure = inspect(SOURCE, tmp_path, environ, *(() if FULL else with_short_waits("inspect", try_seconds=20)))
    assert failure["error"] == "HubUnreachable"
    assert words in failure["message"]
    assert ("runtime.caBundle" if lost == "ca" else "runtime.proxy") in failure["fix"]


def test_an_inspection_reads_a_store_through_the_proxy(company: Company, tmp_path: Path) -> None:
    company.proxy.asked.clear()
    environ = company.environ(**AT_STORE)
    facts = inspect("s3://bucket/llms/tiny", tmp_path, environ)
    assert facts.get("configuration"), facts
    assert set(company.proxy.asked) == {f"{STORE}:443"}


def test_public_cas_stay_trusted(company: Company, tmp_path: Path) -> None:
    """All of certifi's are in the file that each library is given, and the platform's."""
    script = (
        "import os, ssl, certifi; from llmservice_runtime.launcher.platform_ca import *; "
        "trust_platform_ca(os.environ); "
        "count = lambda path: len(ssl.create_default_context(cafile=path).get_ca_certs()); "
        "print(count(os.environ['SSL_CERT_FILE']) - count(certifi.where())); "
        "print(len({os.environ[each] for each in VARIABLES}))"
    )
    environ = company.environ(PYTHONPATH=str(ROOT / "runtime"), TMPDIR=str(tmp_path))
    done = subprocess.run([vllm_python(), "-c", script], env=environ, capture_output=True, text=True, timeout=60)
    more, files = map(int, done.stdout.split())
    assert more >= 1, done.stderr
    assert files == 1


@pytest.mark.parametrize(
    ("source", "host"),
    [
        pytest.param(SOURCE, HUB, id="hub"),
        # What of it is the store's own is in every run: the inspection and the streamer read it through the proxy.
        pytest.param("s3://bucket/llms/tiny", STORE, id="store", marks=pytest.mark.campaign),
    ],
)
def test_vllm_loads_its_model_through_the_proxy(
    company: Company, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, source: str, host: str
) -> None:
    company.proxy.asked.clear()
    environ = company.environ(**(AT_STORE if host == STORE else {}))
    environ |= {"MODEL_SOURCE": source, "HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf")}
    # vLLM makes sockets there, whose paths have at most 107 characters.
    short = tmp_path_factory.mktemp("t")
    environ |= {"TMPDIR": str(short), "MAX_CONTEXT_LENGTH": "512"}
    with Engine(tmp_path, None, inherited={}, **environ) as engine:
        engine.wait_until_ready()
        assert engine.complete("The quick brown fox")["choices"]
    assert set(company.proxy.asked) == {f"{host}:443"}


STREAM = """
import os, sys
from llmservice_runtime.launcher.platform_ca import trust_platform_ca
trust_platform_ca(os.environ)
from runai_model_streamer import SafetensorsStreamer
with SafetensorsStreamer() as streamer:
    streamer.stream_file(sys.argv[1])
    print(sum(1 for _ in streamer.get_tensors()))
"""
"""As vLLM's loader of S3 reads weights: with the AWS SDK of C++, not with boto3."""


def test_the_streamer_loads_weights_of_a_store_through_the_proxy(company: Company, tmp_path: Path) -> None:
    company.proxy.asked.clear()
    environ = company.environ(**AT_STORE, PYTHONPATH=str(ROOT / "runtime"), HOME=str(tmp_path), TMPDIR=str(tmp_path))
    command = [vllm_python(), "-c", STREAM, "s3://bucket/llms/tiny/model.safetensors"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=180)
    assert int(done.stdout) > 0, done.stderr
    assert set(company.proxy.asked) == {f"{STORE}:443"}
