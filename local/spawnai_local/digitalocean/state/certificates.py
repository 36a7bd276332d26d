"""Certificates: of Let's Encrypt through DigitalOcean, or uploaded.

One of Let's Encrypt is pending at first, then verified or in error, and its private key cannot be
had. It is renewed at two thirds of its life: its name stays and its id changes, also in the load
balancers that use it. Here it is signed by an authority of the emulator's own.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from spawnai_local.digitalocean import errors
from spawnai_local.digitalocean.clock import timestamp
from spawnai_local.digitalocean.state.domains import Domains
from spawnai_local.digitalocean.world import World

LIFETIME = timedelta(days=90)
RENEWED_AFTER = timedelta(days=60)
NOT_UNIQUE = "certificate name is not unique"
IN_USE = "Make sure the certificate is not in use before deleting it"
BACKDATED = timedelta(hours=1)


@dataclass(slots=True)
class Certificate:
    """A certificate. `state` is pending, verified or error; `chain` and `key` are PEM."""

    id: str
    name: str
    type: str
    dns_names: list[str]
    created_at: float
    state: str
    not_after: float | None = None
    fingerprint: str = ""
    chain: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    canary: bool = False

    def document(self) -> dict[str, Any]:
        """Return the certificate as the API shows it; never its key."""
        document = {
            "id": self.id,
            "name": self.name,
            "sha1_fingerprint": self.fingerprint,
            "created_at": timestamp(self.created_at),
            "dns_names": self.dns_names,
            "state": self.state,
            "type": self.type,
        }
        if self.not_after is not None:
            document["not_after"] = timestamp(self.not_after)
        return document


class Authority:
    """Signs what stands in for Let's Encrypt's certificates; made when it is first needed."""

    def __init__(self) -> None:
        self._key: ec.EllipticCurvePrivateKey | None = None
        self._root: x509.Certificate | None = None

    @property
    def root(self) -> bytes:
        """The certificate that clients must trust, as PEM."""
        _, root = self._made()
        return root.public_bytes(serialization.Encoding.PEM)

    def issue(self, names: list[str], now: datetime) -> tuple[bytes, bytes, x509.Certificate]:
        """Return a chain, its key (both PEM) and the certificate for names."""
        signer, root = self._made()
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(names[0], root.subject, key, now, LIFETIME)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
                critical=False,
            )
            .sign(signer, hashes.SHA256())
        )
        chain = certificate.public_bytes(serialization.Encoding.PEM)
        return chain + self.root, _key_pem(key), certificate

    def _made(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        if self._key is None or self._root is None:
            self._key = ec.generate_private_key(ec.SECP256R1())
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Local cloud")])
            usage = x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            )
            self._root = (
                _builder("Local cloud", name, self._key, datetime.now(UTC), timedelta(days=3650))
                .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                .add_extension(usage, critical=True)
                .sign(self._key, hashes.SHA256())
            )
        return self._key, self._root


@dataclass(slots=True)
class Certificates:
    """All certificates of the account."""

    world: World
    domains: Domains
    users_of: Callable[[str], bool] = lambda _identifier: False
    """Whether a load balancer names a certificate."""
    replace: Callable[[str, str], None] = lambda _old, _new: None
    """Has the load balancers name a certificate's new id."""
    authority: Authority = field(default_factory=Authority)
    _all: dict[str, Certificate] = field(default_factory=dict)
    _held: set[str] = field(default_factory=set)
    """Certificates of load balancers that went just now: still in use for a while."""

    def all(self) -> list[Certificate]:
        """Return all certificates in the order they were made."""
        return list(self._all.values())

    def find(self, identifier: str) -> Certificate | None:
        """Return a certificate; None if there is none of this id."""
        return self._all.get(identifier)

    def get(self, identifier: str) -> Certificate:
        """Return a certificate.

        Raises:
            ApiError: 404, there is no such certificate.
        """
        found = self._all.get(identifier)
        if found is None:
            raise errors.not_found()
        return found

    def create(
        self, order: dict[str, Any], *, errored: bool = False, canary: bool = False
    ) -> Certificate:
        """Order a certificate of Let's Encrypt, or take an uploaded one.

        Raises:
            ApiError: 422, the order is wrong, the name is taken, or a domain is not in the account.
        """
        name = order.get("name")
        if not isinstance(name, str) or not name:
            raise errors.unprocessable("name can't be blank")
        kind = order.get("type", "custom" if "private_key" in order else "lets_encrypt")
        if kind not in ("custom", "lets_encrypt"):
            raise errors.unprocessable("type is one of custom, lets_encrypt")
        made = Certificate(self.world.uuid(), name, kind, [], self.world.now(), "pending")
        made.canary = canary
        if kind == "custom":
            _upload(made, order)
        else:
            made.dns_names = self._names(order.get("dns_names"))
        if any(one.name == name for one in self._all.values()):
            raise errors.unprocessable(NOT_UNIQUE)
        self._all[made.id] = made
        self.world.record("certificate created", made.id, name=name)
        if kind == "lets_encrypt":
            delay = 0.0 if canary else self.world.draw(self.world.delays.certificate)
            self.world.timeline.after(delay, lambda: self._validated(made, errored=errored))
        return made

    def renew(self, identifier: str) -> Certificate:
        """Renew a certificate: the same name under a new id, also in the load balancers.

        Raises:
            ApiError: 404 there is none; 422 it was uploaded, or is not verified.
        """
        old = self.get(identifier)
        if old.type != "lets_encrypt" or old.state != "verified":
            raise errors.unprocessable("only a verified certificate of Let's Encrypt is renewed")
        new = Certificate(
            self.world.uuid(), old.name, old.type, old.dns_names, self.world.now(), "pending"
        )
        del self._all[old.id]
        self._all[new.id] = new
        self._validated(new, errored=False)
        self.replace(old.id, new.id)
        self.world.record("certificate renewed", new.id, name=new.name, before=old.id)
        return new

    def delete(self, identifier: str) -> None:
        """Take a certificate away.

        Raises:
            ApiError: 404 there is none; 403 a load balancer uses it, or did a moment ago.
        """
        known = self.get(identifier)
        if identifier in self._held or self.users_of(identifier):
            raise errors.of_status(403, IN_USE)
        del self._all[identifier]
        self.world.record("certificate deleted", identifier, name=known.name)

    def released(self, identifiers: Iterable[str]) -> None:
        """A load balancer that used them went; they count as in use for a while."""
        delay = self.world.draw(self.world.delays.certificate_release)
        if delay <= 0:
            return
        for identifier in identifiers:
            self._held.add(identifier)
            self.world.timeline.after(delay, partial(self._held.discard, identifier))

    def _validated(self, made: Certificate, *, errored: bool) -> None:
        if made.id not in self._all:
            return
        if errored or any(self.domains.zone_of(name) is None for name in made.dns_names):
            made.state = "error"
            self.world.record("certificate in error", made.id, name=made.name)
            return
        now = datetime.fromtimestamp(self.world.now(), tz=UTC)
        made.chain, made.key, certificate = self.authority.issue(made.dns_names, now)
        _describe(made, certificate)
        made.state = "verified"
        self.world.record("certificate verified", made.id, name=made.name)
        self.world.timeline.after(RENEWED_AFTER.total_seconds(), lambda: self._renew_due(made))

    def _renew_due(self, known: Certificate) -> None:
        if self._all.get(known.id) is known:
            self.renew(known.id)

    def _names(self, wanted: object) -> list[str]:
        if (
            not isinstance(wanted, list)
            or not wanted
            or not all(isinstance(name, str) and name for name in wanted)
        ):
            raise errors.unprocessable("dns_names can't be blank")
        if any(self.domains.zone_of(name) is None for name in wanted):
            raise errors.unprocessable(
                "one or more of the domains are not managed by the DNS of this account"
            )
        return list(dict.fromkeys(wanted))


def _upload(made: Certificate, order: dict[str, Any]) -> None:
    try:
        leaf = x509.load_pem_x509_certificate(str(order.get("leaf_certificate")).encode())
        key = serialization.load_pem_private_key(str(order.get("private_key")).encode(), None)
    except (ValueError, TypeError):
        raise errors.unprocessable(
            "leaf_certificate and private_key must be a PEM certificate and its PEM key"
        ) from None
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = serialization.Encoding.PEM
    if leaf.public_key().public_bytes(pem, public) != key.public_key().public_bytes(pem, public):
        raise errors.unprocessable("private_key does not belong to leaf_certificate")
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        made.dns_names = list(names.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        made.dns_names = []
    chain = str(order.get("certificate_chain") or "").encode()
    made.chain = leaf.public_bytes(pem) + chain
    made.key = str(order["private_key"]).encode()
    made.state = "verified"
    _describe(made, leaf)


def _describe(made: Certificate, certificate: x509.Certificate) -> None:
    made.not_after = certificate.not_valid_after_utc.timestamp()
    made.fingerprint = certificate.fingerprint(hashes.SHA1()).hex()  # noqa: S303 - the API's form


def _builder(
    subject: str,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject[:64])]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
