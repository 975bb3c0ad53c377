"""The certificates of the metrics API: a CA of its own and a serving certificate, only in memory.

Each process creates its own, so there is no key to store, share or lose. The API server gets the CA from the APIService
(see ``registration``). A new CA is published some time before it signs and stays published until it expires, so that
clients notice no change.
"""

import dataclasses
import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVING_LIFE = datetime.timedelta(days=30)
SERVING_RENEWAL = datetime.timedelta(days=20)
"""Age at which the serving certificate is replaced."""
AUTHORITY_LIFE = datetime.timedelta(days=90)
AUTHORITY_RENEWAL = datetime.timedelta(days=50)
"""Age at which a new CA is created."""
SETTLING = datetime.timedelta(hours=1)
"""How long a new CA is published before it signs."""
CLOCK_SKEW = datetime.timedelta(hours=1)
"""How far the clocks of other machines may be behind."""


@dataclasses.dataclass(frozen=True)
class Signed:
    """A key, its certificate, and its creation time."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    made: datetime.datetime

    @property
    def pem(self) -> str:
        """The certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        """The key as PEM, not encrypted."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()


class Certificates:
    """The published CAs, and the serving certificate for one DNS name."""

    def __init__(self, host: str, now: datetime.datetime) -> None:
        self._host = host
        self._signer = _authority(now)
        self._authorities = [self._signer]
        self.serving = _serving(host, self._signer, now)

    @property
    def bundle(self) -> str:
        """All published CAs as PEM, the oldest first."""
        return "".join(each.pem for each in self._authorities)

    def renew(self, now: datetime.datetime) -> bool:
        """Replaces what is due. Returns whether the serving certificate was replaced."""
        self._authorities = [each for each in self._authorities if now < each.made + AUTHORITY_LIFE]
        if not self._authorities or now >= self._authorities[-1].made + AUTHORITY_RENEWAL:
            self._authorities.append(_authority(now))
        settled = [each for each in self._authorities if now >= each.made + SETTLING]
        signer = settled[-1] if settled else self._authorities[0]
        if signer is self._signer and now < self.serving.made + SERVING_RENEWAL:
            return False
        self._signer = signer
        self.serving = _serving(self._host, signer, now)
        return True


def _authority(now: datetime.datetime) -> Signed:
    key = ec.generate_private_key(ec.SECP256R1())
    # Each CA has a different name, because clients find the issuer of a certificate by its name.
    number = x509.random_serial_number()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"llmservice-operator metrics API {number:x}"[:64])])
    usage = {"key_cert_sign": True, "crl_sign": True, "digital_signature": False}
    certificate = (
        _begun(name, name, key, now, AUTHORITY_LIFE, number)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(**usage), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Signed(key, certificate, now)


def _serving(host: str, signer: Signed, now: datetime.datetime) -> Signed:
    key = ec.generate_private_key(ec.SECP256R1())
    usage = {"key_cert_sign": False, "crl_sign": False, "digital_signature": True}
    # The host is in the subject alternative name, because a common name has at most 64 characters.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "llmservice-operator metrics API")])
    issuer = signer.certificate.subject
    certificate = (
        _begun(subject, issuer, key, now, SERVING_LIFE, x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(**usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False)
        .sign(signer.key, hashes.SHA256())
    )
    return Signed(key, certificate, now)


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
    life: datetime.timedelta,
    number: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(number)
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, key_cert_sign: bool, crl_sign: bool, digital_signature: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
