"""What the operator and one droplet's agent recognise each other by.

Everything is derived from the installation's master key and the session's identity, so nothing has
to be stored for a session, and a restarted operator speaks to the same agents as before. Ed25519
signatures are deterministic (RFC 8032), so even the certificate has the same bytes each time.
"""

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

INTERNAL_DOMAIN = "spawnai.internal"
"""What names end in that only gateways, droplets and the operator use; no DNS server knows it."""

AGENT_HOST_NAME = f"agent.{INTERNAL_DOMAIN}"
"""The name in every agent's certificate; the client pins the certificate, so it identifies none."""

OPERATOR_HOST_NAME = f"operator.{INTERNAL_DOMAIN}"
"""The name in the certificate that the operator shows; the agent pins it, too."""

MASTER_KEY_MIN_BYTES = 32

# Changing this text changes every token and certificate: running sessions would be cut off.
_PURPOSE = b"spawnai/session-credentials/v1"
_OPERATOR_PURPOSE = b"spawnai/operator-certificate/v1"
_GATEWAY_PURPOSE = b"spawnai/gateway-certificate/v1"
_AUTHORITY_PURPOSE = b"spawnai/droplets-authority/v1"

# The operator's clock may be behind the one that dated the session, and no session lives this long.
_VALID_BEFORE = timedelta(days=1)
_VALID_AFTER = timedelta(days=3650)
# The authority is as old as any installation can be, and outlives it.
_AUTHORITY_VALID = datetime(2026, 1, 1, tzinfo=UTC), datetime(2076, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SessionCredentials:
    """One session's bearer token, and what its agent and its operator show each other (PEM).

    The token and the operator's key never leave the operator; the droplet gets `token_sha256` and
    the operator's certificate. No part but these and the agent's certificate may be shown, and
    `repr` shows none of the secrets.
    """

    token: str = field(repr=False)
    certificate_pem: str = field(repr=False)
    private_key_pem: str = field(repr=False)
    operator_certificate_pem: str = field(default="", repr=False)
    operator_key_pem: str = field(default="", repr=False)

    @property
    def token_sha256(self) -> str:
        """SHA-256 of the token in hex: what the agent compares a caller's token with."""
        return hashlib.sha256(self.token.encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class GatewayCertificate:
    """What a droplet's web server shows to a gateway: a certificate of the droplets' authority."""

    certificate_pem: str
    private_key_pem: str = field(repr=False)


def gateway_host_name(host_label: str) -> str:
    """The name that a gateway asks the droplet of this host label for."""
    return f"{host_label}.{INTERNAL_DOMAIN}"


def derive_credentials(
    master_key: bytes, session_uid: str, created_at: datetime
) -> SessionCredentials:
    """The credentials of one session: the same bytes for the same arguments, always.

    `created_at` is the session's creationTimestamp; it dates the certificate. HKDF-SHA256
    (RFC 5869) makes the token and the key; knowing one session's tells nothing of another's.

    Raises:
        ValueError: the master key is shorter than 32 bytes, the UID is empty, or the time is naive.
    """
    created = _date_of(session_uid, created_at)
    material = _derive(
        master_key, _PURPOSE, f"{session_uid}\n{created.isoformat()}", length=32 + 32 + 16
    )
    token = base64.urlsafe_b64encode(material[:32]).rstrip(b"=").decode("ascii")
    private_key = Ed25519PrivateKey.from_private_bytes(material[32:64])
    certificate = _self_signed(private_key, material[64:], created, AGENT_HOST_NAME)
    operators = _derive(
        master_key, _OPERATOR_PURPOSE, f"{session_uid}\n{created.isoformat()}", length=32 + 16
    )
    operator_key = Ed25519PrivateKey.from_private_bytes(operators[:32])
    operator_certificate = _self_signed(operator_key, operators[32:], created, OPERATOR_HOST_NAME)
    return SessionCredentials(
        token=token,
        certificate_pem=_pem(certificate),
        private_key_pem=_key_pem(private_key),
        operator_certificate_pem=_pem(operator_certificate),
        operator_key_pem=_key_pem(operator_key),
    )


def derive_gateway_certificate(
    master_key: bytes, session_uid: str, created_at: datetime, host_label: str
) -> GatewayCertificate:
    """What one session's droplet shows to a gateway: the same bytes for the same arguments.

    It is signed by the authority of `derive_droplets_authority` and names `gateway_host_name` of
    the session, and nothing else: no droplet can pass for another's.

    Raises:
        ValueError: the master key is too short, the UID or label is empty, or the time is naive.
    """
    if not host_label:
        raise ValueError("the host label is empty; a gateway tells droplets apart by it")
    created = _date_of(session_uid, created_at)
    material = _derive(
        master_key,
        _GATEWAY_PURPOSE,
        f"{session_uid}\n{created.isoformat()}\n{host_label}",
        length=32 + 16,
    )
    key = Ed25519PrivateKey.from_private_bytes(material[:32])
    authority, authority_key = _authority(master_key)
    # RFC 5280 allows a common name of at most 64 characters; who reads it reads the other one.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SpawnAI droplet")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(material[32:]) | 1)
        .not_valid_before(created - _VALID_BEFORE)
        .not_valid_after(created + _VALID_AFTER)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(gateway_host_name(host_label))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_use_of(key_cert_sign=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, algorithm=None)
    )
    return GatewayCertificate(_pem(certificate), _key_pem(key))


def derive_droplets_authority(master_key: bytes) -> str:
    """The certificate (PEM) by which a gateway knows all droplets of this installation.

    Raises:
        ValueError: the master key is shorter than 32 bytes.
    """
    return _pem(_authority(master_key)[0])


def _authority(master_key: bytes) -> tuple[x509.Certificate, Ed25519PrivateKey]:
    material = _derive(master_key, _AUTHORITY_PURPOSE, "", length=32 + 16)
    key = Ed25519PrivateKey.from_private_bytes(material[:32])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SpawnAI droplets")])
    not_before, not_after = _AUTHORITY_VALID
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(material[32:]) | 1)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_use_of(key_cert_sign=True), critical=True)
        .add_extension(x509.NameConstraints([x509.DNSName(INTERNAL_DOMAIN)], None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, algorithm=None)
    )
    return certificate, key


def _date_of(session_uid: str, created_at: datetime) -> datetime:
    if not session_uid:
        raise ValueError("the session's UID is empty; credentials must differ between sessions")
    if created_at.utcoffset() is None:
        raise ValueError("created_at has no time zone; expected an aware datetime in UTC")
    return created_at.astimezone(UTC).replace(microsecond=0)


def _derive(master_key: bytes, purpose: bytes, info: str, *, length: int) -> bytes:
    if len(master_key) < MASTER_KEY_MIN_BYTES:
        raise ValueError(
            f"the master key has {len(master_key)} bytes, but needs at least "
            f"{MASTER_KEY_MIN_BYTES}; make one with `openssl rand 32`"
        )
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=purpose, info=info.encode()).derive(
        master_key
    )


def _use_of(*, key_cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def _key_pem(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode("ascii")


def _self_signed(
    private_key: Ed25519PrivateKey, serial: bytes, created: datetime, host_name: str
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host_name)])
    # RFC 5280: a serial number is positive and at most 20 octets.
    serial_number = int.from_bytes(serial) | 1
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key.public_key())
        .serial_number(serial_number)
        .not_valid_before(created - _VALID_BEFORE)
        .not_valid_after(created + _VALID_AFTER)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host_name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(private_key, algorithm=None)
    )
