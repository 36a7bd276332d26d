"""A mark that only this installation can make, for what it keeps where others may write."""

import hashlib
import hmac
from collections.abc import Iterable

_PURPOSE = b"spawnai/seal/v1"


class Seal:
    """Marks content as this installation's own, for one session."""

    def __init__(self, installation_key: bytes) -> None:
        """Derive a key of its own: nobody learns the installation's from a seal."""
        self._key = hmac.digest(installation_key, _PURPOSE, hashlib.sha256)

    def of(self, session_uid: str, parts: Iterable[bytes]) -> bytes:
        """The seal in hex. It fits these parts in this order, for this session, and nothing else.

        HMAC-SHA256 (RFC 2104) of the digests of all of them, so that no byte can move from one part
        to the next.
        """
        mac = hmac.new(self._key, hashlib.sha256(session_uid.encode()).digest(), hashlib.sha256)
        for part in parts:
            mac.update(hashlib.sha256(part).digest())
        return mac.hexdigest().encode()

    def fits(self, seal: bytes, session_uid: str, parts: Iterable[bytes]) -> bool:
        """Whether this installation made that seal for exactly this."""
        return hmac.compare_digest(seal, self.of(session_uid, parts))
