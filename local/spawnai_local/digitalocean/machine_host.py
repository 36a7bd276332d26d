"""The machines behind droplets: what the emulator asks of a host, and in which order."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

log = logging.getLogger(__name__)


class MachineHost(Protocol):
    """Runs one machine for each droplet."""

    on_power_off: Callable[[int], None] | None
    """Called with the droplet's id when its machine has shut itself down."""

    def allocate_address(self) -> str:
        """Return an IPv4 address for a new machine."""
        ...

    async def boot(
        self,
        droplet_id: int,
        address: str,
        user_data: str,
        memory_bytes: int,
        image_id: int | None = None,
    ) -> None:
        """Start the droplet's machine, at first with the disk that was kept as that image."""
        ...

    async def keep_disk(self, droplet_id: int, image_id: int) -> None:
        """Keep the machine's disk as an image."""
        ...

    async def drop_disk(self, image_id: int) -> None:
        """Forget an image."""
        ...

    async def power_off(self, droplet_id: int) -> None:
        """Stop the machine; its disk stays."""
        ...

    async def destroy(self, droplet_id: int) -> None:
        """Stop the machine and forget its disk."""
        ...


class MachineQueue:
    """Orders to the machine host, one after another for each droplet, side by side for all.

    An order that fails is logged and changes nothing in the API, as a machine that does not come
    up changes nothing there either.
    """

    def __init__(self, host: MachineHost) -> None:
        self._host = host
        self._last: dict[int, asyncio.Task[None]] = {}

    def boot(
        self,
        droplet_id: int,
        address: str,
        user_data: str,
        memory_bytes: int,
        image_id: int | None = None,
    ) -> None:
        """Order the machine to start."""
        self._order(
            droplet_id,
            lambda: self._host.boot(droplet_id, address, user_data, memory_bytes, image_id),
        )

    def keep_disk(self, droplet_id: int, image_id: int) -> None:
        """Order the machine's disk to be kept as an image."""
        self._order(droplet_id, lambda: self._host.keep_disk(droplet_id, image_id))

    def drop_disk(self, image_id: int) -> None:
        """Order an image to be forgotten."""
        self._order(image_id, lambda: self._host.drop_disk(image_id))

    def power_off(self, droplet_id: int) -> None:
        """Order the machine to stop."""
        self._order(droplet_id, lambda: self._host.power_off(droplet_id))

    def destroy(self, droplet_id: int) -> None:
        """Order the machine to be taken away."""
        self._order(droplet_id, lambda: self._host.destroy(droplet_id))

    async def drain(self) -> None:
        """Wait until all orders given so far are done, each being bounded by the host."""
        while self._last:
            await asyncio.gather(*self._last.values(), return_exceptions=True)

    def _order(self, droplet_id: int, order: Callable[[], Coroutine[Any, Any, None]]) -> None:
        before = self._last.get(droplet_id)

        async def run() -> None:
            if before is not None:
                await asyncio.wait([before])
            try:
                await order()
            except Exception:
                log.exception("the machine of droplet %d did not do as ordered", droplet_id)
            finally:
                if self._last.get(droplet_id) is task:
                    del self._last[droplet_id]

        task = asyncio.get_running_loop().create_task(run())
        self._last[droplet_id] = task
