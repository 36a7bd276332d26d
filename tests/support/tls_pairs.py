"""A chain and its key, as a Secret of type kubernetes.io/tls holds them, with dates of a test."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from spawnai.acme.order import new_key

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def signed(key, *, by, issuer: str, subject: str, names=(), begin=NOW - DAY, end=NOW + 89 * DAY):
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(one) for one in names])
        builder = builder.add_extension(alternatives, critical=False)
    return builder.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class Pair:
    """A certificate for these names, and the root that signed it."""

    def __init__(self, *names: str, **dates) -> None:
        self.key_pem = new_key()
        key = serialization.load_pem_private_key(self.key_pem, None)
        authority = ec.generate_private_key(ec.SECP256R1())
        leaf = signed(key, by=authority, issuer="CA", subject="leaf", names=names, **dates)
        self.root = signed(authority, by=authority, issuer="CA", subject="CA")
        self.chain_pem = leaf + self.root
