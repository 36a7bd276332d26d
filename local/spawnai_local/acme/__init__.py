"""An ACME server on this machine: Pebble, with Let's Encrypt's limits in front of it."""

from spawnai_local.acme.server import AcmeServer, AcmeServerError

__all__ = ["AcmeServer", "AcmeServerError"]
