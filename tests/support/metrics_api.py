"""Tools for tests of the metrics API: numbers, certificate authorities, and a client that sends any bytes."""

import asyncio
import dataclasses
import datetime
import json
import os
import ssl
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from kubernetes.aio import client, config

from llmservice_operator.autoscaling.external_metrics import LOAD, SERVICE_LABEL
from llmservice_operator.autoscaling.metrics_unavailable import MetricsUnavailable
from llmservice_operator.config.scaling import ScalingSettings
from llmservice_operator.controller.client.api import Cluster
from llmservice_operator.controller.metrics_api.api import MetricsAPI
from llmservice_operator.controller.metrics_api.selectors import Selector
from llmservice_operator.controller.metrics_api.source import MetricSource, Sample, Unavailable

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
ROOT = "/apis/external.metrics.k8s.io/v1beta1"


def metric_path(namespace: str, selector: str = "", metric: str = LOAD) -> str:
    """Path of a metric."""
    return f"{ROOT}/namespaces/{namespace}/{metric}" + (f"?labelSelector={selector}" if selector else "")


class Numbers:
    """A source of loads by namespace and service, in milli; a text is the reason why one isn't known."""

    def __init__(self, loads: Mapping[tuple[str, str], int | str]) -> None:
        self.loads = dict(loads)

    def names(self) -> Sequence[str]:
        """Only the load."""
        return (LOAD,)

    def samples(self, namespace: str, metric: str, selector: Selector) -> Sequence[Sample]:
        """The loads of one namespace."""
        if metric != LOAD:
            raise KeyError(metric)
        found = []
        for (where, service), load in self.loads.items():
            labels = {SERVICE_LABEL: service}
            if where == namespace and selector.matches(labels):
                if isinstance(load, str):
                    raise Unavailable(load)
                found.append(Sample(metric, labels, load, NOW, 60))
        return found


@dataclasses.dataclass(frozen=True)
class Pair:
    """A certificate and its key, both PEM."""

    certificate: bytes
    key: bytes

    def load(self, context: ssl.SSLContext) -> ssl.SSLContext:
        """Let ``context`` show it."""
        file = os.memfd_create("client")
        try:
            os.write(file, self.key + self.certificate)
            context.load_cert_chain(f"/proc/self/fd/{file}")
        finally:
            os.close(file)
        return context


class Authority:
    """Something that signs certificates."""

    def __init__(self, name: str = "test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        own = _builder(self._name, self._name, self._key, hours=24)
        own = own.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.pem = own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    @classmethod
    def of(cls, certificate: bytes, key: bytes) -> "Authority":
        """One whose files are at hand."""
        made = cls.__new__(cls)
        made.pem = certificate.decode()
        made._name = x509.load_pem_x509_certificate(certificate).subject
        made._key = serialization.load_pem_private_key(key, None)  # type: ignore[assignment]
        return made

    def client(self, name: str, *, organization: str = "", hours: float = 24, server_only: bool = False) -> Pair:
        """A client's certificate; valid for ``hours`` from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        parts = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        if organization:
            parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server_only else ExtendedKeyUsageOID.CLIENT_AUTH
        made = _builder(x509.Name(parts), self._name, key, hours=hours)
        made = made.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return Pair(
            made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, *, hours: float
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(now + datetime.timedelta(hours=hours))
    )


@dataclasses.dataclass(frozen=True)
class Reply:
    """What the metrics API answered."""

    status: int
    """HTTP status; 0: the connection was refused in its TLS handshake."""
    text: str = ""

    @property
    def json(self) -> Any:
        """The answer read as JSON."""
        return json.loads(self.text)

    @property
    def message(self) -> str:
        """The message of a Status."""
        return str(self.json["message"])


class Caller:
    """A client of one server: ``authorities`` (PEM) are those that it trusts; None: it takes any certificate."""

    def __init__(self, host: str, port: int, *, authorities: str | None = None, name: str = "") -> None:
        self._address = (host, port)
        self._authorities = authorities
        self._name = name

    async def get(
        self,
        path: str,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        *,
        certificate: Pair | None = None,
        method: str = "GET",
    ) -> Reply:
        """One request on a connection of its own."""
        try:
            connection = await self.connect(certificate)
            async with connection:
                return await connection.get(path, headers, method=method)
        except (ssl.SSLError, ConnectionResetError):
            return Reply(0)

    async def connect(self, certificate: Pair | None = None) -> "Connection":
        """A connection that is kept."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self._authorities is None:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        else:
            context.load_verify_locations(cadata=self._authorities)
        if certificate:
            certificate.load(context)
        host, port = self._address
        return Connection(*await asyncio.open_connection(host, port, ssl=context, server_hostname=self._name or host))


class Connection:
    """One connection, for several requests."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @property
    def certificate(self) -> bytes:
        """What the server has shown."""
        return bytes(self._writer.get_extra_info("ssl_object").getpeercert(binary_form=True))

    async def get(
        self, path: str, headers: Mapping[str, str] | Sequence[tuple[str, str]] = (), *, method: str = "GET"
    ) -> Reply:
        """One request and its answer. ConnectionResetError where the server has ended the connection."""
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        lines = [f"{method} {path} HTTP/1.1", "Host: test", *(f"{name}: {value}" for name, value in pairs), "", ""]
        self._writer.write("\r\n".join(lines).encode())
        await self._writer.drain()
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError from error
        first, *rest = head.decode().split("\r\n")
        length = next((int(each.split(":")[1]) for each in rest if each.lower().startswith("content-length:")), 0)
        body = b"" if method == "HEAD" else await self._reader.readexactly(length)
        return Reply(int(first.split()[1]), body.decode())

    async def __aenter__(self) -> "Connection":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()


class Running:
    """The operator's metrics API on a real API server, in a thread; it can be stopped and started again."""

    def __init__(self, kubeconfig: Path, settings: ScalingSettings, namespace: str, source: MetricSource) -> None:
        self._kubeconfig = kubeconfig
        self._settings = settings
        self._namespace = namespace
        self._source = source
        self._stop: threading.Event = threading.Event()
        self._thread: threading.Thread | None = None
        self._failed: list[BaseException] = []
        self.gap: MetricsUnavailable | None = None
        """What the last look said."""

    def start(self) -> None:
        """Serve, as an operator does that begins: with an authority of its own, which the API server has to learn."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._stop,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop serving. What is registered stays."""
        self._stop.set()
        if self._thread:
            self._thread.join(30)
        assert not self._failed, f"the metrics API ended: {self._failed[0]!r}"

    def __enter__(self) -> "Running":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self, stop: threading.Event) -> None:
        try:
            asyncio.run(self._serve(stop))
        except Exception as error:
            self._failed.append(error)

    async def _serve(self, stop: threading.Event) -> None:
        configuration = client.Configuration()
        await config.load_kube_config(config_file=str(self._kubeconfig), client_configuration=configuration)
        async with client.ApiClient(configuration) as api:
            metrics = MetricsAPI(Cluster(api), self._settings, self._namespace, self._source)
            await metrics.start()
            try:
                while not stop.is_set():
                    self.gap = await metrics.ensure()
                    await asyncio.sleep(0.2)
            finally:
                await metrics.stop()
