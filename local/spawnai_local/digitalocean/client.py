"""A small client for the emulator's control API, for tests, benchmarks and the demo."""

from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import aiohttp

TIMEOUT_SECONDS = 90.0


class ControlError(Exception):
    """The control API refused; the message says why."""


class ControlClient:
    """Talks to `/_local/` of one emulator. Use it as an async context manager, or close it."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def add_faults(self, *faults: str | dict[str, Any]) -> list[dict[str, Any]]:
        """Add faults, as lines or objects, and return them with their ids."""
        return await self._list("faults", "POST", "faults", list(faults))

    async def faults(self) -> list[dict[str, Any]]:
        """Return all faults with how often they were matched and suffered."""
        return await self._list("faults", "GET", "faults")

    async def wait_for_fault(self, fault_id: int, *, seconds: float = 60.0) -> dict[str, Any]:
        """Return a fault as soon as a call has suffered it, or after `seconds` all the same."""
        return await self._object("GET", f"faults/{fault_id}?wait={seconds}")

    async def remove_fault(self, fault_id: int) -> None:
        """Remove one fault."""
        await self._ask("DELETE", f"faults/{fault_id}")

    async def clear_faults(self) -> None:
        """Remove all faults."""
        await self._ask("DELETE", "faults")

    async def set_delays(self, **seconds: float | tuple[float, float]) -> dict[str, Any]:
        """Change the named delays."""
        return await self._object("PUT", "delays", seconds)

    async def set_limits(self, **limits: int | bool) -> dict[str, Any]:
        """Change the named limits."""
        return await self._object("PUT", "limits", limits)

    async def spend_requests(self, token: str, requests: int) -> dict[str, Any]:
        """Count requests as if another program had made them with the token."""
        return await self._object("POST", "limits/spend", {"token": token, "requests": requests})

    async def reset_limits(self) -> dict[str, Any]:
        """Forget the requests counted so far."""
        return await self._object("POST", "limits/reset")

    async def set_capacity(
        self,
        *,
        closed_regions: tuple[str, ...] = (),
        sold_out: tuple[tuple[str, str], ...] = (),
        restricted_sizes: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """Set the closed regions, the pairs of region and size that are sold out, and the sizes
        that are restricted.
        """
        pairs = [{"region": region, "size": size} for region, size in sold_out]
        order = {
            "closed_regions": list(closed_regions),
            "sold_out": pairs,
            "restricted_sizes": list(restricted_sizes),
        }
        return await self._object("PUT", "capacity", order)

    async def change_account(self, **changes: str) -> dict[str, Any]:
        """Set the account's status, or its uuid, as if the token belonged to another one."""
        return await self._object("PUT", "account", changes)

    async def set_token(
        self, token: str, scopes: list[str] | None = None, *, valid: bool = True
    ) -> None:
        """Make a token valid with these scopes (None: full access), or revoke it."""
        await self._ask("PUT", "tokens", {"token": token, "scopes": scopes, "valid": valid})

    async def calls(self, *, sessions: bool = True) -> dict[str, Any]:
        """Return the counters of calls; those of each session only if wanted."""
        return await self._object("GET", "calls" if sessions else "calls?sessions=false")

    async def call_log(self, *, after: int = 0) -> list[dict[str, Any]]:
        """Return the calls with a number above `after`."""
        return await self._list("calls", "GET", f"calls/log?after={after}")

    async def reset_calls(self) -> None:
        """Set the counters to zero."""
        await self._ask("DELETE", "calls")

    async def bill(self) -> dict[str, Any]:
        """Return the bill; dollars are decimal strings."""
        return await self._object("GET", "bill")

    async def state(self) -> dict[str, Any]:
        """Return everything the account holds."""
        return await self._object("GET", "state")

    async def history(self, *, after: int = 0) -> list[dict[str, Any]]:
        """Return the changes of the account with a number above `after`."""
        return await self._list("changes", "GET", f"history?after={after}")

    async def seed(self, **lists: list[Any] | bool) -> dict[str, Any]:
        """Place canaries: `tags`, `droplets`, `firewalls`, `domains`, `records`."""
        return await self._object("POST", "seed", lists)

    async def renew_certificate(self, certificate_id: str) -> dict[str, Any]:
        """Renew a certificate now, and return it with its new id."""
        answer = await self._object("POST", f"certificates/{certificate_id}/renewals")
        return dict(answer["certificate"])

    async def authority(self) -> str:
        """Return the PEM certificate of what signs the certificates."""
        return str((await self._object("GET", "authority"))["certificate"])

    async def canaries(self) -> dict[str, Any]:
        """Return whether all canaries are intact, and which are not."""
        return await self._object("GET", "canaries")

    async def _object(self, method: str, path: str, document: Any = None) -> dict[str, Any]:
        answer = await self._ask(method, path, document)
        if not isinstance(answer, dict):
            raise ControlError(f"{method} /_local/{path} answered {answer!r}, not an object")
        return answer

    async def _list(
        self, key: str, method: str, path: str, document: Any = None
    ) -> list[dict[str, Any]]:
        return list((await self._object(method, path, document))[key])

    async def _ask(self, method: str, path: str, document: Any = None) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
            )
        url = f"{self._base_url}/_local/{path}"
        async with self._session.request(method, url, json=document) as response:
            answer = None if response.status == HTTPStatus.NO_CONTENT else await response.json()
            if not response.ok:
                raise ControlError(f"{method} {url}: {answer}")
        return answer
