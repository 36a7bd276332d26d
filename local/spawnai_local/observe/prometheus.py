"""A real Prometheus and a real Alertmanager as child processes, and questions to them."""

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from spawnai_local.paths import checkout
from spawnai_local.processes import ChildProcess, free_port

PROGRAMS = ("prometheus", "prometheus-alertmanager")
_READY_SECONDS = 60.0
_STOP_SECONDS = 10.0
_ANSWER_SECONDS = 10.0
_COURSE_STEPS = 60


def missing_programs() -> list[str]:
    """Which of the two this machine does not have."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


@dataclass(frozen=True, slots=True)
class Series:
    """One answer: its labels, and its values in the order of time."""

    labels: Mapping[str, str]
    values: tuple[float, ...]

    @property
    def last(self) -> float:
        """The newest value."""
        return self.values[-1]


class QueryError(Exception):
    """Prometheus did not answer a query; the message has its words."""


class Prometheus:
    """Scrapes one operator each second, and sends its alerts to one Alertmanager."""

    def __init__(
        self, directory: Path, *, metrics_url: str, rules: Path, alertmanager: str
    ) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        address = httpx.URL(metrics_url).netloc.decode()
        config = directory / "prometheus.yaml"
        config.write_text(
            yaml.safe_dump(
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": [str(rules)],
                    "scrape_configs": [
                        {"job_name": "spawnai", "static_configs": [{"targets": [address]}]}
                    ],
                    "alerting": {
                        "alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]
                    },
                }
            )
        )
        self.process = ChildProcess(
            "prometheus",
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={directory / 'prometheus-data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
                "--log.level=warn",
            ],
            directory,
            stop_seconds=_STOP_SECONDS,
        )
        self._http = httpx.AsyncClient(base_url=self.url, timeout=_ANSWER_SECONDS, trust_env=False)

    async def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            ProcessError: it ended or was not ready in time.
        """
        await self.process.start()
        await self.process.wait_until_answers(f"{self.url}/-/ready", limit_seconds=_READY_SECONDS)

    async def stop(self) -> None:
        """End it. Safe to call twice."""
        await self.process.stop()
        await self._http.aclose()

    async def now(self, expression: str) -> list[Series]:
        """The values of an expression at this moment, without NaN.

        Raises:
            QueryError: it was refused.
        """
        found = await self._query("/api/v1/query", query=expression)
        if found["resultType"] == "scalar":
            return _series([{"metric": {}, "values": [found["result"]]}])
        return _series([{**one, "values": [one["value"]]} for one in found["result"]])

    async def course(self, expression: str, start: float, end: float) -> list[Series]:
        """The values of an expression between two times (seconds since 1970), without NaN.

        Raises:
            QueryError: it was refused.
        """
        step = max(1.0, (end - start) / _COURSE_STEPS)
        found = await self._query(
            "/api/v1/query_range", query=expression, start=start, end=end, step=step
        )
        return _series(found["result"])

    async def _query(self, path: str, **parameters: str | float) -> Any:
        answer = await self._http.post(path, data=parameters)
        document = answer.json()
        if document["status"] != "success":
            raise QueryError(f"{parameters['query']}: {document['error']}")
        return document["data"]


def _series(results: list[Any]) -> list[Series]:
    found = []
    for one in results:
        values = [float(value) for _, value in one["values"]]
        numbers = tuple(value for value in values if not math.isnan(value))
        if numbers:
            found.append(Series(one["metric"], numbers))
    return found


class Alertmanager:
    """Hands every alert to a Discord-like and a Slack-like webhook, at once."""

    def __init__(self, directory: Path, *, discord_url: str, slack_url: str) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        config = directory / "alertmanager.yaml"
        config.write_text(yaml.safe_dump(alertmanager_config(discord_url, slack_url)))
        self.process = ChildProcess(
            "alertmanager",
            [
                "prometheus-alertmanager",
                f"--config.file={config}",
                f"--storage.path={directory / 'alertmanager-data'}",
                f"--web.listen-address={self.address}",
                "--cluster.listen-address=",  # alone: no gossip
                "--log.level=warn",
            ],
            directory,
            stop_seconds=_STOP_SECONDS,
        )

    async def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            ProcessError: it ended or was not ready in time.
        """
        await self.process.start()
        await self.process.wait_until_answers(
            f"http://{self.address}/-/ready", limit_seconds=_READY_SECONDS
        )

    async def stop(self) -> None:
        """End it. Safe to call twice."""
        await self.process.stop()


def alertmanager_config(discord_url: str, slack_url: str) -> dict[str, Any]:
    """docs/examples/alertmanager.yaml with these addresses, and without its delays."""
    config: dict[str, Any] = yaml.safe_load(
        (checkout() / "docs" / "examples" / "alertmanager.yaml").read_text()
    )
    config["route"] |= {"group_wait": "1s", "group_interval": "1s"}
    for receiver in config["receivers"]:
        for discord in receiver.get("discord_configs", []):
            discord["webhook_url"] = discord_url
        for slack in receiver.get("slack_configs", []):
            slack["api_url"] = slack_url
    return config
