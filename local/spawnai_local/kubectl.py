"""kubectl, run as a person would run it, with a deadline and an error that shows the command."""

import asyncio
import contextlib
import json
import os
import shlex
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS_PER_COMMAND = 30.0


class KubectlError(Exception):
    """kubectl refused, failed, or took too long; the message shows the command and its answer."""

    def __init__(self, command: str, answer: str) -> None:
        super().__init__(f"`{command}` failed: {answer}")
        self.command = command
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl against one cluster. `cache` is its own discovery cache, apart from the person's."""

    program: Path
    kubeconfig: Path
    cache: Path

    def shown(self, *arguments: str) -> str:
        """The command as a person would type it after `. .local/env`."""
        return shlex.join(("kubectl", *arguments))

    async def run(
        self,
        *arguments: str,
        standard_input: str | None = None,
        limit_seconds: float = SECONDS_PER_COMMAND,
        kubeconfig: str | None = None,
    ) -> str:
        """Run it, with another kubeconfig if one is given, and return what it printed.

        Raises:
            KubectlError: it ended with an error, or the time was over.
        """
        process = await asyncio.create_subprocess_exec(
            *(str(self.program), *arguments),
            stdin=asyncio.subprocess.DEVNULL if standard_input is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment(kubeconfig),
        )
        data = None if standard_input is None else standard_input.encode()
        try:
            async with asyncio.timeout(limit_seconds):
                output, errors = await process.communicate(data)
        except TimeoutError:
            raise KubectlError(
                self.shown(*arguments), f"no answer within {limit_seconds:g} s"
            ) from None
        finally:
            await _end(process)
        if process.returncode != 0:
            raise KubectlError(self.shown(*arguments), errors.decode(errors="replace").strip())
        return output.decode(errors="replace")

    async def json(self, *arguments: str, limit_seconds: float = SECONDS_PER_COMMAND) -> Any:
        """Run it with `--output json` and return the document.

        Raises:
            KubectlError: as `run`.
        """
        text = await self.run(*arguments, "--output", "json", limit_seconds=limit_seconds)
        return json.loads(text)

    async def items(self, *arguments: str) -> list[dict[str, Any]]:
        """The objects of a `kubectl get` of several.

        Raises:
            KubectlError: as `run`.
        """
        items: list[dict[str, Any]] = (await self.json("get", *arguments))["items"]
        return items

    async def apply(self, *documents: Mapping[str, Any], limit_seconds: float = 30.0) -> str:
        """Server-side apply documents, as a GitOps controller does, and return what it printed.

        Raises:
            KubectlError: as `run`.
        """
        return await self.run(
            *("apply", "--server-side", "--force-conflicts", "--field-manager", "spawnai-local"),
            *("--filename", "-"),
            standard_input=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}),
            limit_seconds=limit_seconds,
        )

    async def watch(self, path: str) -> AsyncIterator[dict[str, Any]]:
        """The events of a watch on an API path, each {type, object}, until the API server ends it.

        Raises:
            KubectlError: it ended with an error.
        """
        arguments = ("get", "--raw", f"{path}?watch=1")
        process = await asyncio.create_subprocess_exec(
            *(str(self.program), *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment(),
            limit=2**24,  # one object is one line
        )
        assert process.stdout is not None  # noqa: S101 - asked for above
        assert process.stderr is not None  # noqa: S101
        try:
            async for line in process.stdout:
                yield json.loads(line)
            errors = await process.stderr.read()
            if await process.wait() != 0:
                raise KubectlError(self.shown(*arguments), errors.decode(errors="replace").strip())
        finally:
            await _end(process)

    def _environment(self, kubeconfig: str | None = None) -> dict[str, str]:
        return {
            **os.environ,
            "KUBECONFIG": kubeconfig or str(self.kubeconfig),
            "KUBECACHEDIR": str(self.cache),
        }


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
