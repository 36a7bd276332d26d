"""Reads a certificate chain: whom it is for, how long, and whether it fits its key."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from cryptography import x509
from cryptography.hazmat.primitives import serialization

RENEW_AFTER = 2 / 3
"""The part of its life after which a certificate is renewed when the server suggests no time.

As certbot and cert-manager do it, and what Let's Encrypt asks for.
"""


class CertificateInvalid(ValueError):
    """A chain or key cannot be used; the text says what is wrong with it and what to do."""


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """What a certificate says of itself."""

    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    serial: int
    issuer: str

    @property
    def renewal_time(self) -> datetime:
        """When to renew it, without a word of the server."""
        return self.not_before + RENEW_AFTER * self.life

    @property
    def life(self) -> timedelta:
        """How long it is valid in all."""
        return self.not_after - self.not_before

    def covers(self, host: str) -> bool:
        """Whether a client that asks for the host accepts it: exactly, or by a wildcard for the
        first label (RFC 6125).
        """
        parent = host.partition(".")[2]
        return host in self.names or (bool(parent) and f"*.{parent}" in self.names)


def read_chain(chain_pem: bytes) -> CertificateInfo:
    """Read the first certificate of a chain.

    Raises:
        CertificateInvalid: there is none.
    """
    leaf = _leaf(chain_pem)
    try:
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise CertificateInvalid(
            "the certificate names nobody (it has no subjectAltName); no browser accepts it"
        ) from None
    names = [name.lower() for name in alternatives.get_values_for_type(x509.DNSName)]
    addresses = [str(address) for address in alternatives.get_values_for_type(x509.IPAddress)]
    return CertificateInfo(
        names=(*names, *addresses),
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        serial=leaf.serial_number,
        issuer=leaf.issuer.rfc4514_string(),
    )


def check_pair(
    chain_pem: bytes, key_pem: bytes, hosts: Iterable[str], now: datetime
) -> CertificateInfo:
    """Check that chain and key can serve these hosts now, as they lie in a Secret.

    Raises:
        CertificateInvalid: the key is another one's, a host is not covered, the chain is in
            disorder, or it is not valid now.
    """
    info = read_chain(chain_pem)
    chain = x509.load_pem_x509_certificates(chain_pem)
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError) as error:
        raise CertificateInvalid(
            "the private key cannot be read: expected an unencrypted key in PEM"
        ) from error
    if _public(key.public_key()) != _public(chain[0].public_key()):
        raise CertificateInvalid(
            "the private key does not belong to the first certificate of the chain: put the "
            "server's own certificate first, and its key beside it"
        )
    for certificate, issuer in pairwise(chain):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, x509.InvalidVersion) as error:
            raise CertificateInvalid(
                f"the chain is in disorder: {issuer.subject.rfc4514_string()!r} did not sign the "
                "certificate before it"
            ) from error
        except Exception as error:
            raise CertificateInvalid(
                f"the chain is in disorder: the signature of {issuer.subject.rfc4514_string()!r} "
                "does not fit the certificate before it"
            ) from error
    missing = [host for host in hosts if not _serves(info, host)]
    if missing:
        raise CertificateInvalid(
            f"the certificate is for {', '.join(info.names)}, not for {', '.join(missing)}"
        )
    if now >= info.not_after:
        raise CertificateInvalid(f"the certificate expired at {info.not_after.isoformat()}")
    if now < info.not_before:
        raise CertificateInvalid(
            f"the certificate is not valid before {info.not_before.isoformat()}"
        )
    return info


def _serves(info: CertificateInfo, host: str) -> bool:
    """A wildcard is covered by the same wildcard alone."""
    if host.startswith("*."):
        return host in info.names
    try:
        return str(ipaddress.ip_address(host)) in info.names
    except ValueError:
        return info.covers(host)


def _leaf(chain_pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(chain_pem)[0]
    except ValueError as error:
        raise CertificateInvalid(
            "there is no certificate in it: expected a chain in PEM, the server's own first"
        ) from error


def _public(key: object) -> bytes:
    encoded: bytes = key.public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded
