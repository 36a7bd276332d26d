"""The console of a local stack, and a person who may use it.

The person is a ServiceAccount in the namespace `default` with the rights of the built-in role
`edit`, as a developer has them; the console itself has no account at all.
"""

import base64
import json
import sys
from pathlib import Path

from spawnai_local.kubectl import Kubectl
from spawnai_local.processes import ChildProcess, RestartPolicy, free_port

PERSON = "developer"
NAMESPACE = "default"

# Longer than anyone leaves a local stack running. Some clusters allow less, and give less.
_TOKEN_DURATION = "720h"  # noqa: S105 - a duration
_CONSOLE_SECONDS = 30.0
_STOP_SECONDS = 5.0


def _documents() -> list[dict[str, object]]:
    subject = {"kind": "ServiceAccount", "name": PERSON, "namespace": NAMESPACE}
    metadata = {"name": f"spawnai-{PERSON}", "namespace": NAMESPACE}
    group = "rbac.authorization.k8s.io"
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": PERSON, "namespace": NAMESPACE},
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "edit"},
            "subjects": [subject],
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"spawnai-{PERSON}"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "spawnai-viewer"},
            "subjects": [subject],
        },
    ]


class LocalConsole:
    """The console as a child process, and a token that opens it.

    Attributes:
        url: where the page is.
        token: a person's token for it.
        process: the child process.
    """

    def __init__(self, url: str, token: str, process: ChildProcess) -> None:
        self.url = url
        self.token = token
        self.process = process

    @classmethod
    async def start(
        cls,
        directory: Path,
        kubectl: Kubectl,
        *,
        operator_namespace: str,
        database_url: str = "",
    ) -> "LocalConsole":
        """Make the person, and start the console; it comes back when it dies.

        `database_url`: where the history is kept for good, if anywhere.

        Raises:
            KubectlError: the cluster refused.
            ProcessError: the console did not come up.
        """
        await kubectl.apply(*_documents())
        token = await kubectl.run(
            *("create", "token", PERSON),
            *("--namespace", NAMESPACE, "--duration", _TOKEN_DURATION),
        )
        address = f"127.0.0.1:{free_port()}"
        probes = f"127.0.0.1:{free_port()}"
        process = ChildProcess(
            "console",
            [sys.executable, "-m", "spawnai.cli", "console"],
            directory,
            environment={
                **await _api_server(directory, kubectl),
                "SPAWNAI_NAMESPACE": operator_namespace,
                "SPAWNAI_CONSOLE_ADDRESS": address,
                "SPAWNAI_HTTP_ADDRESS": probes,
                "SPAWNAI_DATABASE_URL": database_url,
            },
            stop_seconds=_STOP_SECONDS,
            restart=RestartPolicy(),
        )
        await process.start()
        await process.wait_until_answers(f"http://{address}/", limit_seconds=_CONSOLE_SECONDS)
        return cls(f"http://{address}/", token.strip(), process)


async def _api_server(directory: Path, kubectl: Kubectl) -> dict[str, str]:
    """Where the API server is and whom to trust; no credentials, as in a pod."""
    view = json.loads(
        await kubectl.run("config", "view", "--raw", "--minify", "--flatten", "-ojson")
    )
    cluster = view["clusters"][0]["cluster"]
    variables = {"SPAWNAI_KUBERNETES_URL": str(cluster["server"])}
    authority = cluster.get("certificate-authority-data")
    if authority is not None:
        path = directory / "console-ca.crt"
        path.write_bytes(base64.b64decode(authority))
        variables["SPAWNAI_KUBERNETES_CA_FILE"] = str(path)
    return variables
