"""IPv4 addresses of droplets without a machine: given out in order, and again once given back."""

import ipaddress

PRIVATE_NETWORK = "10.108.0.0/14"


class Addresses:
    """A pool of addresses in one network.

    The one given back last is given out first: DigitalOcean hands addresses on as well, and whoever
    still points a name at one should find out soon.
    """

    def __init__(self, network: str) -> None:
        self._network = ipaddress.ip_network(network)
        self._next = 10
        self._free: list[str] = []

    def take(self) -> str:
        """Return an address that nothing has.

        Raises:
            RuntimeError: the network is used up.
        """
        if self._free:
            return self._free.pop()
        if self._next >= self._network.num_addresses - 1:
            raise RuntimeError(f"all addresses of {self._network} are in use")
        address = str(self._network[self._next])
        self._next += 1
        return address

    def give_back(self, address: str) -> None:
        """Return an address to the pool."""
        self._free.append(address)
