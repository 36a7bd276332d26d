"""What the nameservers of a domain say, before an ACME server asks them.

An order is refused here where the server would refuse it, and a proof is shown to the server only
once every nameserver has it: the server looks once.
"""

import asyncio
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import dns.asyncquery
import dns.asyncresolver
import dns.exception
import dns.message
import dns.rdatatype
import dns.resolver

from spawnai.clock import Clock

from .errors import AcmeRefused, AcmeUnavailable

ANSWER_SECONDS = 5.0
"""How long one question may take."""

VISIBLE_SECONDS = 60.0
"""How long a new record may take to be at all nameservers. DigitalOcean takes seconds; cert-manager
waits 60 s without looking."""

_LOOK_SECONDS = 1.0

DELEGATE_TO = "ns1.digitalocean.com, ns2.digitalocean.com and ns3.digitalocean.com"


@dataclass(frozen=True, slots=True)
class Nameserver:
    """Where one nameserver is asked."""

    host: str
    port: int = 53


class Nameservers:
    """Asks the nameservers that the world asks about a domain.

    Args:
        clock: for pauses.
        only: asked in place of all others, for a DNS of one's own.
    """

    def __init__(self, clock: Clock, only: Nameserver | None = None) -> None:
        self._clock = clock
        self._only = only

    async def of(self, domain: str) -> Sequence[Nameserver]:
        """The nameservers that the domain is delegated to.

        Raises:
            AcmeRefused: it is not delegated to DigitalOcean.
            AcmeUnavailable: DNS gives no answer.
        """
        if self._only is not None:
            return (self._only,)
        resolver = dns.asyncresolver.Resolver()
        resolver.lifetime = 2 * ANSWER_SECONDS
        try:
            names = [str(one.target) for one in await resolver.resolve(f"{domain}.", "NS")]
            addresses = [
                address.address
                for name in names
                for address in await resolver.resolve(name, "A", raise_on_no_answer=False)
            ]
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer) as error:
            raise _not_delegated(domain, "it has no nameservers") from error
        except (dns.exception.DNSException, OSError) as error:
            raise AcmeUnavailable(
                f"the nameservers of {domain} cannot be found out ({type(error).__name__}); it is "
                "tried again"
            ) from error
        if not any(name.lower().endswith("digitalocean.com.") for name in names):
            listed = ", ".join(sorted(name.rstrip(".") for name in names))
            raise _not_delegated(domain, f"its nameservers are {listed}")
        return [Nameserver(address) for address in addresses]

    async def check_caa(self, name: str, identities: Iterable[str]) -> None:
        """Refuse a name for which CAA records (RFC 8659) name other authorities only.

        Args:
            name: what is to be certified; a wildcard too.
            identities: the names by which the ACME server is allowed; none: nothing is known.

        Raises:
            AcmeRefused: they forbid it.
            AcmeUnavailable: DNS gives no answer.
        """
        allowed = {identity.lower() for identity in identities}
        if not allowed:
            return
        labels = name.removeprefix("*.").split(".")
        for start in range(len(labels) - 1):
            owner = ".".join(labels[start:])
            records = await self._caa(owner)
            if not records:
                continue
            wild = [value for tag, value in records if tag == "issuewild"]
            issue = [value for tag, value in records if tag == "issue"]
            values = wild if name.startswith("*.") and wild else issue
            named = {value.partition(";")[0].strip().lower() for value in values}
            if values and not named & allowed:
                raise AcmeRefused(
                    f"CAA records at {owner} allow {', '.join(sorted(named - {''})) or 'nobody'} "
                    f"to certify {name}: add one that allows {min(allowed)}, or remove them",
                    reason="CAAForbids",
                )
            return

    async def await_text(self, domain: str, name: str, value: str) -> None:
        """Wait until every nameserver of the domain shows a TXT record.

        Raises:
            AcmeRefused: they do not show it; so the domain is served from elsewhere.
            AcmeUnavailable: DNS gives no answer.
        """
        servers = await self.of(domain)
        ends_at = self._clock.now() + VISIBLE_SECONDS
        while True:
            shown = await asyncio.gather(*(self._shows(one, name, value) for one in servers))
            if all(shown):
                return
            if self._clock.now() >= ends_at:
                raise _not_delegated(
                    domain, f"{VISIBLE_SECONDS:.0f} s after {name} was made, they do not show it"
                )
            await self._clock.sleep(_LOOK_SECONDS)

    async def _shows(self, server: Nameserver, name: str, value: str) -> bool:
        try:
            answer = await self._ask(server, name, "TXT")
        except (dns.exception.DNSException, OSError):
            return False
        texts = (b"".join(one.strings) for one in _rdatas(answer, dns.rdatatype.TXT))
        return value.encode() in texts

    async def _caa(self, name: str) -> list[tuple[str, str]]:
        try:
            if self._only is not None:
                answer = await self._ask(self._only, name, "CAA")
            else:
                resolver = dns.asyncresolver.Resolver()
                resolver.lifetime = ANSWER_SECONDS
                found = await resolver.resolve(f"{name}.", "CAA", raise_on_no_answer=False)
                answer = found.response
        except dns.resolver.NXDOMAIN:
            return []
        except (dns.exception.DNSException, OSError) as error:
            raise AcmeUnavailable(
                f"DNS gives no answer about CAA records of {name} ({type(error).__name__}); it is "
                "tried again"
            ) from error
        return [
            (one.tag.decode().lower(), one.value.decode())
            for one in _rdatas(answer, dns.rdatatype.CAA)
        ]

    @staticmethod
    async def _ask(server: Nameserver, name: str, kind: str) -> dns.message.Message:
        host = server.host
        try:
            ipaddress.ip_address(host)
        except ValueError:
            infos = await asyncio.get_running_loop().getaddrinfo(host, server.port)
            host = str(infos[0][4][0])
        query = dns.message.make_query(f"{name}.", kind)
        answer, _ = await dns.asyncquery.udp_with_fallback(
            query, host, timeout=ANSWER_SECONDS, port=server.port
        )
        return answer


def _rdatas(answer: dns.message.Message, kind: dns.rdatatype.RdataType) -> list[Any]:
    return [one for rrset in answer.answer if rrset.rdtype == kind for one in rrset]


def _not_delegated(domain: str, why: str) -> AcmeRefused:
    return AcmeRefused(
        f"the world does not ask DigitalOcean about {domain}: {why}. Have its registrar, or the "
        f"zone above it, delegate it to {DELEGATE_TO}",
        reason="DomainNotDelegated",
    )
