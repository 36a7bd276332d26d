"""The droplets' agents: how the operator reaches the one of a session."""

from spawnai.api.names import session_host_label
from spawnai.controller.installation_key import InstallationKeys
from spawnai.droplet.client import AgentClient
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
        return derive_credentials(
            self._keys.at(session.created_at), session.uid, session.created_at
        )

    def gateway_certificate(self, session: Session) -> GatewayCertificate:
        """What the session's droplet shows to a gateway."""
        label = session_host_label(session.name, session.uid)
        return derive_gateway_certificate(
            self._keys.at(session.created_at), session.uid, session.created_at, label
        )

    def client(self, session: Session, ip: str) -> AgentClient:
        """A client for the agent at that address; close it."""
        return AgentClient(ip, AGENT_PORT, self.credentials(session))
