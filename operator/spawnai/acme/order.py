"""What is ordered, and what is kept of an order so that it is never placed twice."""

import ipaddress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

SHORTLIVED = "shortlived"
"""Let's Encrypt's profile of 160 hours: the only one for addresses."""

CLASSIC = "classic"
"""Let's Encrypt's default profile."""


class ChallengeType(StrEnum):
    """How the server is shown that a name or an address is ours."""

    HTTP_01 = "http-01"
    DNS_01 = "dns-01"


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """The names and addresses of one certificate, and its profile.

    Raises:
        ValueError: there is no identifier.
    """

    identifiers: tuple[str, ...]
    profile: str = CLASSIC

    def __post_init__(self) -> None:
        if not self.identifiers:
            raise ValueError("a certificate needs at least one name or address")


def is_address(identifier: str) -> bool:
    """Whether an identifier is an IP address and no name."""
    try:
        ipaddress.ip_address(identifier)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class KeptOrder:
    """An order as it is stored before each step: first the key, then the URL, then the chain."""

    request: CertificateRequest
    key_pem: bytes = field(repr=False)
    url: str | None = None
    chain_pem: bytes | None = None

    @property
    def is_fulfilled(self) -> bool:
        """Whether the certificate is there."""
        return self.chain_pem is not None


class OrderStore(Protocol):
    """Where one order is kept. What `save` returned from survives the process."""

    async def load(self) -> KeptOrder | None:
        """The order as it was saved last."""
        ...

    async def save(self, order: KeptOrder) -> None:
        """Keep it, in place of what was kept."""
        ...


@dataclass(frozen=True, slots=True)
class Challenge:
    """One proof that the server will look for.

    `token` and `proof` are the file's name and content of http-01; `record` and `value` the name
    and content of the TXT record of dns-01.
    """

    type: ChallengeType
    identifier: str
    token: str
    proof: str
    record: str
    value: str


class Prover(Protocol):
    """Shows a proof where the server looks for it."""

    @property
    def challenge_type(self) -> ChallengeType:
        """Which challenge it can answer."""
        ...

    @property
    def outlives_process(self) -> bool:
        """Whether a proof that is not withdrawn stays for ever, as a DNS record does."""
        ...

    async def publish(self, challenge: Challenge) -> None:
        """Show the proof; returns when anyone who looks finds it."""
        ...

    async def withdraw(self, challenge: Challenge) -> None:
        """Take it away; what was never shown is no error."""
        ...


def new_key() -> bytes:
    """A new P-256 private key as PEM (PKCS #8), for an account or a certificate."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
