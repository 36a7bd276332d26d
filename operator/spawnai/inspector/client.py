"""The operator's side of the inspector's door."""

import asyncio
import json
from typing import Any

import httpx

from .inspection import LIMIT_SECONDS, PATH, QUEUE_SECONDS, Inspection, Target

_CONNECT_SECONDS = 2.0
_TOTAL_SECONDS = LIMIT_SECONDS + QUEUE_SECONDS + 3.0
# A picture of 200 KiB in base64, and ten findings.
_ANSWER_MAX_BYTES = 512 * 1024


class InspectorAway(Exception):
    """The page was not inspected; the message says why. Every call is safe to repeat."""


class InspectorClient:
    """Asks the inspector to open pages.

    Args:
        url: where it is, such as http://spawnai-inspector:8080.
    """

    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=url,
            timeout=httpx.Timeout(_TOTAL_SECONDS, connect=_CONNECT_SECONDS),
            trust_env=False,
        )

    async def inspect(self, target: Target) -> Inspection:
        """Have a page opened; takes at most 33 s.

        Raises:
            InspectorAway: it does not answer, has no browser, or reaches no page there.
        """
        try:
            async with (
                asyncio.timeout(_TOTAL_SECONDS),
                self._client.stream("POST", PATH, json=target.document()) as answer,
            ):
                document = await _read(answer)
        except (httpx.HTTPError, OSError) as error:
            why = str(error) or type(error).__name__
            raise InspectorAway(f"the inspector does not answer ({why})") from error
        except ValueError as error:
            raise InspectorAway(f"the inspector's answer cannot be read ({error})") from error
        if answer.status_code != httpx.codes.OK:
            said = document.get("error") if isinstance(document, dict) else None
            raise InspectorAway(f"the inspector says: {str(said)[:300]}")
        try:
            return Inspection.read(document)
        except ValueError as error:
            raise InspectorAway(f"the inspector's answer cannot be read ({error})") from error

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()


async def _read(answer: httpx.Response) -> Any:
    body = bytearray()
    async for chunk in answer.aiter_bytes():
        body += chunk
        if len(body) > _ANSWER_MAX_BYTES:
            raise ValueError(f"it is longer than {_ANSWER_MAX_BYTES} bytes")
    return json.loads(body)
