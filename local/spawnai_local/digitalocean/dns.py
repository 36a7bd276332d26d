"""A DNS server, over UDP and TCP, that answers for the account's domains and refuses all others."""

import asyncio
import contextlib
import struct
from collections.abc import Callable
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from spawnai_local.digitalocean.state.domains import (
    DEFAULT_TTL,
    Domain,
    Domains,
    Record,
    presentation,
)

UDP_SIZE = 1232
"""The most a UDP answer may be without truncation (DNS flag day 2020), or less if asked."""
PLAIN_UDP_SIZE = 512
TCP_IDLE_SECONDS = 10.0
LONGEST_CHAIN = 8
FREE_PORT_ATTEMPTS = 20


class DnsServer:
    """Answers from what the domains hold at the moment of the question.

    Args:
        domains: the account's domains.
        settle: called before each answer, so that whatever is due by now has happened.
    """

    def __init__(self, domains: Domains, settle: Callable[[], None]) -> None:
        self._domains = domains
        self._settle = settle
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()
        self.port: int | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen on UDP and TCP at the same port; 0 takes one that is free for both.

        Raises:
            OSError: the address cannot be had.
        """
        loop = asyncio.get_running_loop()
        for attempt in range(FREE_PORT_ATTEMPTS):
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _Udp(self.answer), local_addr=(host, port)
            )
            chosen = transport.get_extra_info("sockname")[1]
            try:
                self._tcp = await asyncio.start_server(self._serve_tcp, host, chosen)
            except OSError:
                transport.close()
                if port != 0 or attempt == FREE_PORT_ATTEMPTS - 1:
                    raise
                continue
            self._udp, self.port = transport, chosen
            return

    async def stop(self) -> None:
        """Stop listening."""
        if self._udp is not None:
            self._udp.close()
            self._udp = None
        if self._tcp is not None:
            self._tcp.close()
            for writer in list(self._connections):
                writer.close()
            await self._tcp.wait_closed()
            self._tcp = None
        self.port = None

    def answer(self, wire: bytes, largest: int | None = None) -> bytes | None:
        """Answer one question in wire format; None where nothing can be answered.

        Args:
            wire: the question.
            largest: the most bytes, for UDP, unless the question allows more; None for TCP.
        """
        try:
            query = dns.message.from_wire(wire)
        except (dns.exception.DNSException, struct.error):
            return None
        if query.flags & dns.flags.QR:
            return None
        response = dns.message.make_response(query, our_payload=UDP_SIZE)
        if query.opcode() != dns.opcode.QUERY or len(query.question) != 1:
            response.set_rcode(dns.rcode.NOTIMP)
        else:
            self._settle()
            self._fill(response, query.question[0].name, query.question[0].rdtype)
        if largest is None:
            return response.to_wire(max_size=65535)
        if query.edns >= 0:
            largest = max(PLAIN_UDP_SIZE, min(query.payload, UDP_SIZE))
        try:
            return response.to_wire(max_size=largest)
        except dns.exception.TooBig:
            truncated = dns.message.make_response(query, our_payload=UDP_SIZE)
            truncated.flags |= dns.flags.TC | dns.flags.AA
            return truncated.to_wire()

    def _fill(
        self, response: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType
    ) -> None:
        domain = self._domain_of(name)
        if domain is None:
            response.set_rcode(dns.rcode.REFUSED)
            return
        response.flags |= dns.flags.AA
        found = False
        for _ in range(LONGEST_CHAIN):
            records, exists = _look_up(domain, name)
            wanted = [one for one in records if kind == dns.rdatatype.ANY or _type(one) == kind]
            alias = next((one for one in records if one.type == "CNAME"), None)
            if wanted or alias is None:
                for record in wanted:
                    _add(response, name, record, domain)
                found = found or exists
                break
            _add(response, name, alias, domain)
            found = True
            name = dns.name.from_text(alias.data + ".")
            onward = self._domain_of(name)
            if onward is None:
                break
            domain = onward
        if not found:
            response.set_rcode(dns.rcode.NXDOMAIN)
        if not response.answer:
            response.authority.append(_soa(domain))

    def _domain_of(self, name: dns.name.Name) -> Domain | None:
        """Find the domain of ours that a name is in, the longest if there are several."""
        words = name.to_text(omit_final_dot=True).lower().split(".")
        domains = {domain.name: domain for domain in self._domains.all()}
        for start in range(len(words)):
            domain = domains.get(".".join(words[start:]))
            if domain is not None:
                return domain
        return None

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while True:
                async with asyncio.timeout(TCP_IDLE_SECONDS):
                    (length,) = struct.unpack("!H", await reader.readexactly(2))
                    wire = await reader.readexactly(length)
                answer = self.answer(wire)
                if answer is None:
                    break
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._connections.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, answer: Callable[[bytes, int], bytes | None]) -> None:
        self._answer = answer
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's own UDP transport does not derive from DatagramTransport in every Python.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._answer(data, PLAIN_UDP_SIZE)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)


def _look_up(domain: Domain, name: dns.name.Name) -> tuple[list[Record], bool]:
    """Return the records of a name, by a wildcard too, and whether the name exists at all."""
    text = name.to_text(omit_final_dot=True).lower()
    relative = "@" if text == domain.name else text[: -len(domain.name) - 1]
    served = domain.served
    if relative in served:
        return served[relative], True
    if relative == "@" or any(known.endswith(f".{relative}") for known in served):
        return [], True
    words = relative.split(".")
    for start in range(1, len(words) + 1):
        closest = ".".join(words[start:])
        wildcard = f"*.{closest}" if closest else "*"
        if wildcard in served:
            return served[wildcard], True
        if closest in served:
            break
    return [], False


def _type(record: Record) -> dns.rdatatype.RdataType:
    return dns.rdatatype.from_text(record.type)


def _add(
    response: dns.message.Message, name: dns.name.Name, record: Record, domain: Domain
) -> None:
    if record.type == "SOA":
        response.answer.append(_soa(domain))
        return
    rrset = response.find_rrset(
        response.answer, name, dns.rdataclass.IN, _type(record), create=True
    )
    rdata = dns.rdata.from_text(dns.rdataclass.IN, _type(record), presentation(record))
    rrset.add(rdata, ttl=record.ttl)


def _soa(domain: Domain) -> dns.rrset.RRset:
    return dns.rrset.from_text(
        domain.name + ".",
        DEFAULT_TTL,
        "IN",
        "SOA",
        domain.soa(),
    )
