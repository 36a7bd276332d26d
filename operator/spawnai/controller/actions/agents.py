"""The droplets' agents: how the operator reaches the one of a session."""

from datetime import datetime

from spawnai.api.names import session_host_label
from spawnai.controller.installation_key import InstallationKeys
from spawnai.droplet.client import AgentClient, take_over
from spawnai.droplet.cloud_config import DropletBootstrap
from spawnai.droplet.credentials import (
    GatewayCertificate,
    SessionCredentials,
    derive_credentials,
    derive_gateway_certificate,
)
from spawnai.lifecycle.observation import Session

AGENT_PORT = 8443


class Agents:
    """Derives each session's credentials from the installation's key of its time."""

    def __init__(self, keys: InstallationKeys | bytes) -> None:
        self._keys = InstallationKeys.only(keys) if isinstance(keys, bytes) else keys

    def credentials(self, session: Session) -> SessionCredentials:
        """What the session's agent knows its operator by, and the other way round."""
        return self.credentials_of(session.uid, session.created_at)

    def credentials_of(self, uid: str, created_at: datetime) -> SessionCredentials:
        """The same for what is not a session's: a spare, by its ledger's name and date."""
        return derive_credentials(self._keys.at(created_at), uid, created_at)

    def gateway_certificate(self, session: Session) -> GatewayCertificate:
        """What the session's droplet shows to a gateway."""
        label = session_host_label(session.name, session.uid)
        return derive_gateway_certificate(
            self._keys.at(session.created_at), session.uid, session.created_at, label
        )

    def spare(self, uid: str, created_at: datetime, ip: str) -> AgentClient:
        """A client for the agent of a spare; close it."""
        return AgentClient(ip, AGENT_PORT, self.credentials_of(uid, created_at))

    async def take_over(
        self, uid: str, created_at: datetime, ip: str, bootstrap: DropletBootstrap
    ) -> None:
        """Hand the agent of a spare over to a session: see `droplet.client.take_over`."""
        await take_over(ip, self.credentials_of(uid, created_at), bootstrap)

    def client(self, session: Session, ip: str) -> AgentClient:
        """A client for the agent at that address; close it."""
        return AgentClient(ip, AGENT_PORT, self.credentials(session))
