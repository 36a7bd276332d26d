"""A client for tests that hides nothing: it sends what it is told and shows what came back."""

import json
from dataclasses import dataclass
from typing import Any

import aiohttp

from spawnai_local.digitalocean import Emulator, ManualClock

SESSION = "0a1b2c3d-0000-4000-8000-000000000001"
OTHER_SESSION = "0a1b2c3d-0000-4000-8000-000000000002"
DROPLET = {"region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64"}


@dataclass(frozen=True)
class Reply:
    status: int
    body: Any
    headers: dict[str, str]

    @property
    def message(self) -> str:
        return self.body["message"]


class Account:
    """One account on one emulator, seen by a client with a token."""

    def __init__(self, emulator: Emulator, clock: ManualClock, session: aiohttp.ClientSession):
        self.emulator = emulator
        self.clock = clock
        self._session = session

    async def send(self, method: str, path: str, body: Any = None, **options: Any) -> Reply:
        headers = options.pop("headers", {"authorization": "Bearer local-token"})
        data = body if isinstance(body, bytes) else None
        sent = None if data is not None else body
        async with self._session.request(
            method, self.emulator.url + path, json=sent, data=data, headers=headers, **options
        ) as response:
            text = await response.read()
            return Reply(
                response.status,
                json.loads(text) if text else None,
                {name.lower(): value for name, value in response.headers.items()},
            )

    async def get(self, path: str, **query: Any) -> Reply:
        return await self.send("GET", path, params=query)

    async def post(self, path: str, body: Any) -> Reply:
        return await self.send("POST", path, body)

    async def put(self, path: str, body: Any) -> Reply:
        return await self.send("PUT", path, body)

    async def delete(self, path: str, body: Any = None, **query: Any) -> Reply:
        return await self.send("DELETE", path, body, params=query)

    async def create_droplet(self, name: str = "web-1", **order: Any) -> dict[str, Any]:
        reply = await self.post("/v2/droplets", {"name": name, **DROPLET, **order})
        assert reply.status == 202, reply
        return reply.body["droplet"]

    async def active_droplet(self, name: str = "web-1", **order: Any) -> dict[str, Any]:
        """Create a droplet and let the time pass until it is active."""
        created = await self.create_droplet(name, **order)
        self.clock.advance(60)
        return (await self.get(f"/v2/droplets/{created['id']}")).body["droplet"]

    async def names(self, path: str = "/v2/droplets", key: str = "droplets", **query: Any):
        reply = await self.get(path, **query)
        assert reply.status == 200, reply
        return [one["name"] for one in reply.body[key]]
