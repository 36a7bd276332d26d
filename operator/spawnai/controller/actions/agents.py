"""The droplets' agents: how the operator reaches the one of a session."""

from spawnai.droplet.client import AgentClient
from spawnai.droplet.credentials import SessionCredentials, derive_credentials
from spawnai.lifecycle.observation import Session

AGENT_PORT = 8443


class Agents:
    """Derives each session's credentials from the installation's key."""

    def __init__(self, master_key: bytes) -> None:
        self._master_key = master_key

    def credentials(self, session: Session) -> SessionCredentials:
        """What the session's agent knows its operator by, and the other way round."""
        return derive_credentials(self._master_key, session.uid, session.created_at)

    def client(self, session: Session, ip: str) -> AgentClient:
        """A client for the agent at that address; close it."""
        return AgentClient(ip, AGENT_PORT, self.credentials(session))
