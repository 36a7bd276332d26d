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
from cryptography.x509.oid import NameOID

AGENT_HOST_NAME = "agent.spawnai.internal"
"""The name in every agent's certificate; the client pins the certificate, so it identifies none."""

MASTER_KEY_MIN_BYTES = 32

# Changing this text changes every token and certificate: running sessions would be cut off.
_PURPOSE = b"spawnai/session-credentials/v1"

# The operator's clock may be behind the one that dated the session, and no session lives this long.
_VALID_BEFORE = timedelta(days=1)
_VALID_AFTER = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class SessionCredentials:
    """One session's bearer token, and the certificate and key of its agent (PEM).

    The token never leaves the operator; the droplet gets `token_sha256`. No part but that one and
    the certificate may be shown, and `repr` shows neither of the secrets.
    """

    token: str = field(repr=False)
    certificate_pem: str = field(repr=False)
    private_key_pem: str = field(repr=False)

    @property
    def token_sha256(self) -> str:
        """SHA-256 of the token in hex: what the agent compares a caller's token with."""
        return hashlib.sha256(self.token.encode("ascii")).hexdigest()


def derive_credentials(
    master_key: bytes, session_uid: str, created_at: datetime
) -> SessionCredentials:
    """The credentials of one session: the same bytes for the same arguments, always.

    `created_at` is the session's creationTimestamp; it dates the certificate. HKDF-SHA256
    (RFC 5869) makes the token and the key; knowing one session's tells nothing of another's.

    Raises:
        ValueError: the master key is shorter than 32 bytes, the UID is empty, or the time is naive.
    """
    if len(master_key) < MASTER_KEY_MIN_BYTES:
        raise ValueError(
            f"the master key has {len(master_key)} bytes, but needs at least "
            f"{MASTER_KEY_MIN_BYTES}; make one with `openssl rand 32`"
        )
    if not session_uid:
        raise ValueError("the session's UID is empty; credentials must differ between sessions")
    if created_at.utcoffset() is None:
        raise ValueError("created_at has no time zone; expected an aware datetime in UTC")
    created = created_at.astimezone(UTC).replace(microsecond=0)
    material = HKDF(
        algorithm=hashes.SHA256(),
        length=32 + 32 + 16,
        salt=_PURPOSE,
        info=f"{session_uid}\n{created.isoformat()}".encode(),
    ).derive(master_key)
    token = base64.urlsafe_b64encode(material[:32]).rstrip(b"=").decode("ascii")
    private_key = Ed25519PrivateKey.from_private_bytes(material[32:64])
    certificate = _self_signed(private_key, material[64:], created)
    return SessionCredentials(
        token=token,
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM).decode("ascii"),
        private_key_pem=private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode("ascii"),
    )


def _self_signed(
    private_key: Ed25519PrivateKey, serial: bytes, created: datetime
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, AGENT_HOST_NAME)])
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
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(AGENT_HOST_NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(private_key, algorithm=None)
    )
