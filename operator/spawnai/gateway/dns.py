"""Answers Caddy's question for a host's droplet, by UDP on loopback."""

import asyncio
import struct
from collections.abc import Callable

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

TTL_SECONDS = 1
"""Caddy keeps an answer for its own `refresh`; anybody else who asks is to keep nothing."""


class RouteDns(asyncio.DatagramProtocol):
    """A DNS server for the routes. It answers A, and knows nothing else of a name."""

    def __init__(self, find: Callable[[str], str | None]) -> None:
        self._find = find
        self._transport: asyncio.DatagramTransport | None = None
        self.answered = 0

    async def start(self, address: str, port: int) -> int:
        """Listen; returns the port. 0 takes a free one.

        Raises:
            OSError: the address cannot be had.
        """
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(address, port))
        self._transport = transport
        bound: int = transport.get_extra_info("sockname")[1]
        return bound

    def stop(self) -> None:
        """Stop listening."""
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one question; what is none gets no answer."""
        answer = self.answer(data)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)

    def answer(self, wire: bytes) -> bytes | None:
        """The answer to a question in wire format; None where nothing can be answered."""
        try:
            query = dns.message.from_wire(wire)
        except (dns.exception.DNSException, struct.error):
            return None
        if query.flags & dns.flags.QR or len(query.question) != 1:
            return None
        response = dns.message.make_response(query)
        if query.opcode() != dns.opcode.QUERY:
            response.set_rcode(dns.rcode.NOTIMP)
            return response.to_wire()
        question = query.question[0]
        address = self._find(question.name.to_text(omit_final_dot=True))
        response.flags |= dns.flags.AA
        if address is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif question.rdtype == dns.rdatatype.A:
            response.answer.append(
                dns.rrset.from_text(
                    question.name, TTL_SECONDS, dns.rdataclass.IN, dns.rdatatype.A, address
                )
            )
        self.answered += 1
        return response.to_wire()
