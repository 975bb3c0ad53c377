"""The metrics API's own certificates: no client that knows the authority of the day is turned away by a renewal."""

import datetime
import ssl

import pytest
from cryptography import x509

from llmservice_operator.controller.metrics_api.certificates import AUTHORITY_LIFE, SETTLING, Certificates
from llmservice_operator.controller.metrics_api.tls import ReloadableTLSContext
from support.metrics_api import Caller
from support.metrics_api_fixtures import OPERATORS, SERVICE, serving

BEGIN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
HOST = f"{SERVICE}.{OPERATORS}.svc"


def authorities(bundle: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(bundle.encode())


def signed_by_one_of(serving: x509.Certificate, bundle: str, at: datetime.datetime) -> bool:
    """Whether a client with this bundle accepts the certificate at that time."""
    for authority in authorities(bundle):
        valid = authority.not_valid_before_utc <= at < authority.not_valid_after_utc
        if valid and authority.subject == serving.issuer:
            serving.verify_directly_issued_by(authority)
            return serving.not_valid_before_utc <= at < serving.not_valid_after_utc
    return False


def test_over_half_a_year_what_clients_learned_at_the_last_look_is_enough() -> None:
    certificates = Certificates(HOST, BEGIN)
    at, known, changes, most = BEGIN, certificates.bundle, 0, 0
    while at < BEGIN + datetime.timedelta(days=180):
        at += datetime.timedelta(minutes=50)
        changes += certificates.renew(at)
        assert signed_by_one_of(certificates.serving.certificate, known, at), at
        known = certificates.bundle
        most = max(most, len(authorities(known)))
    assert (changes, most) == (10, 2)


def test_a_new_authority_is_known_before_it_signs() -> None:
    certificates = Certificates(HOST, BEGIN)
    first = certificates.bundle
    at = BEGIN + datetime.timedelta(days=50)
    certificates.renew(at)
    assert certificates.bundle.startswith(first)
    assert len(authorities(certificates.bundle)) == 2
    assert signed_by_one_of(certificates.serving.certificate, first, at)
    assert certificates.renew(at + SETTLING)
    assert not signed_by_one_of(certificates.serving.certificate, first, at + SETTLING)
    certificates.renew(BEGIN + AUTHORITY_LIFE)
    assert first not in certificates.bundle


def test_after_a_long_sleep_everything_is_made_anew() -> None:
    certificates = Certificates(HOST, BEGIN)
    at = BEGIN + datetime.timedelta(days=400)
    assert certificates.renew(at)
    assert signed_by_one_of(certificates.serving.certificate, certificates.bundle, at)


def test_at_rest_nothing_changes() -> None:
    certificates = Certificates(HOST, BEGIN)
    before = (certificates.bundle, certificates.serving)
    assert not certificates.renew(BEGIN + datetime.timedelta(days=19))
    assert (certificates.bundle, certificates.serving) == before


async def test_clients_that_check_everything_accept_it_under_its_name_alone() -> None:
    async with serving() as served:
        bundle = served.metrics._certificates.bundle
        assert (await Caller("127.0.0.1", served.port, authorities=bundle, name=HOST).get("/healthz")).status == 200
        assert (await Caller("127.0.0.1", served.port, authorities=bundle, name="other").get("/healthz")).status == 0


async def test_a_renewed_certificate_is_shown_without_a_restart() -> None:
    async with serving() as served:
        async with await served.caller.connect() as before:
            old = before.certificate
        at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=21)
        served.metrics._now = lambda: at
        await served.metrics.ensure()
        async with await served.caller.connect() as after:
            assert after.certificate != old


def test_keys_leave_no_file_behind(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file on disk")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    ReloadableTLSContext().replace(Certificates(HOST, BEGIN).serving, "")


def test_old_protocols_are_refused() -> None:
    assert ReloadableTLSContext().context.minimum_version >= ssl.TLSVersion.TLSv1_2
