"""What engines and inspections need for connections out of the cluster: the platform's forward proxy and private CAs.

The platform team sets both; no field of a service changes them. The CAs are copied into a ConfigMap of the service,
because pods can mount only objects of their own namespace. It has certificates alone, and its name does not depend on
them: new CAs restart no pod.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from llmservice_contract.container import PLATFORM_CA_FILE, PLATFORM_CA_PATH, PLATFORM_CA_VARIABLE
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import kinds, names
from llmservice_operator.resources.objects import Owner, metadata, sealed
from llmservice_operator.resources.platform import Platform, Proxy

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def variables(spec: LLMServiceSpec, platform: Platform) -> dict[str, str]:
    """Variables of the engine and of the inspection. Programs read the names in upper or in lower case."""
    found = dict(_proxy(spec, platform))
    authorities = {PLATFORM_CA_VARIABLE: f"{PLATFORM_CA_PATH}/{PLATFORM_CA_FILE}"}
    return {**found, **({} if platform.ca_bundle is None else authorities)}


def _proxy(spec: LLMServiceSpec, platform: Platform) -> Iterator[tuple[str, str]]:
    proxy = platform.proxy
    if proxy is None:
        return
    exempt = dict.fromkeys([*LOOPBACK, ".svc", f".{platform.cluster_domain}", *proxy.no_proxy])
    for name, value in (("HTTP_PROXY", proxy.http), ("HTTPS_PROXY", proxy.https), ("NO_PROXY", ",".join(exempt))):
        if value:
            yield name, value
            yield name.lower(), value
    # A collector is reached by gRPC without TLS, which is nothing for a forward proxy. Only gRPC reads this variable,
    # so no service exempts its hub from the proxy.
    collector = urlsplit(spec.tracing.endpoint).hostname if spec.tracing is not None else None
    if collector:
        yield "no_grpc_proxy", ",".join(dict.fromkeys([*exempt, collector]))


def proxy_of(data: Mapping[str, str], cluster_domain: str) -> Proxy | None:
    """The proxy that the engine's environment shows; None if there is none."""
    http, https = data.get("HTTP_PROXY", ""), data.get("HTTPS_PROXY", "")
    own = {*LOOPBACK, ".svc", f".{cluster_domain}"}
    others = tuple(each for each in data.get("NO_PROXY", "").split(",") if each and each not in own)
    return Proxy(http, https, others) if http or https else None


def make_platform_ca(owner: Owner, platform: Platform) -> dict[str, Any] | None:
    """The ConfigMap with the platform's CAs; None if there are none."""
    if platform.ca_bundle is None:
        return None
    return sealed(
        {
            **kinds.CONFIGMAP.header,
            "metadata": metadata(owner, names.platform_ca(owner.name), names.ENGINE_COMPONENT),
            "data": {PLATFORM_CA_FILE: platform.ca_bundle},
        }
    )


def volumes(service: str, platform: Platform) -> list[dict[str, Any]]:
    """The volume with the CAs. A pod without it would not trust its hub, so it is not optional."""
    if platform.ca_bundle is None:
        return []
    return [{"name": names.PLATFORM_CA_VOLUME, "configMap": {"name": names.platform_ca(service)}}]


def mounts(platform: Platform) -> list[dict[str, Any]]:
    """Its mount."""
    if platform.ca_bundle is None:
        return []
    return [{"name": names.PLATFORM_CA_VOLUME, "mountPath": PLATFORM_CA_PATH, "readOnly": True}]
