"""A range of loopback addresses that one local cloud has to itself.

Every droplet has an address of its own, 127.x.y.z, with the same ports on each. Several local
clouds on one machine must not hand out the same address, also when they belong to different users,
so each claims a block of 65,536 addresses for as long as its process lives.

The claim is an abstract Unix socket named for the block (unix(7)): the kernel lets one process bind
a name, in the very network namespace that the addresses belong to, and takes it back when that
process ends in whatever way. There is no lock file to be stale or to belong to someone else.
"""

import socket
from ipaddress import IPv4Address, IPv4Network
from types import TracebackType
from typing import Self

# 127.0.0.0/16 is what everyone uses (localhost, systemd-resolved at 127.0.0.53); 127.64.0.0/10 is
# where the emulator takes the addresses of droplets without a machine from.
_SECOND_OCTETS = range(128, 255)


class NoFreeBlockError(Exception):
    """Every block is claimed: more local clouds run on this machine than it has room for."""


class AddressBlock:
    """One claimed block; `network` is this cloud's alone until `close` or the process's end."""

    def __init__(self, network: IPv4Network, claim: socket.socket) -> None:
        self.network = network
        self._claim = claim

    @property
    def service_address(self) -> IPv4Address:
        """The address for the cloud's own servers, such as its DNS server; never a droplet's."""
        return self.network.network_address + 1

    def close(self) -> None:
        """Give the block back."""
        self._claim.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def claim_address_block() -> AddressBlock:
    """Claim the first block that nobody on this machine holds.

    Raises:
        NoFreeBlockError: all are held.
    """
    for octet in _SECOND_OCTETS:
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0spawnai-local-cloud-127.{octet}")
        except OSError:
            claim.close()
            continue
        return AddressBlock(IPv4Network(f"127.{octet}.0.0/16"), claim)
    raise NoFreeBlockError(
        f"all {len(_SECOND_OCTETS)} address blocks from 127.{_SECOND_OCTETS.start}.0.0/16 on are "
        "claimed by local clouds that run on this machine; end one with `make local-down` in its "
        "checkout"
    )


def first_bindable_port(address: IPv4Address, candidates: tuple[int, ...]) -> int | None:
    """The first of these TCP ports that this process may bind at `address` now, else None.

    Ports below 1024 need a privilege, unless net.ipv4.ip_unprivileged_port_start says otherwise,
    and a server at 0.0.0.0 takes its port at every address.
    """
    for port in candidates:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((str(address), port))
                probe.listen()
            except OSError:
                continue
        return port
    return None
