"""The certificate that an app's address shows, as it is seen from this machine."""

import os
import queue
import socket
import ssl
import threading
from datetime import UTC, datetime
from urllib.parse import urlsplit

_SECONDS = 3.0

OWN_AUTHORITY = "SPAWNAI_CA"
"""The variable with the file of an authority that this machine's system does not trust."""


def certificate_end(url: str) -> datetime:
    """Until when the certificate at an https URL is valid.

    Raises:
        ssl.SSLCertVerificationError: this machine does not trust it, or it is over.
        OSError: nothing answers there within three seconds.
    """
    answers: queue.SimpleQueue[datetime | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(_look(url))
        except Exception as error:  # noqa: BLE001 - raised again below
            answers.put(error)

    # A thread: no socket's time limit holds for the look-up of a name.
    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=_SECONDS)
    except queue.Empty:
        raise TimeoutError(f"no answer within {_SECONDS:g}s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _look(url: str) -> datetime:
    parts = urlsplit(url)
    if parts.hostname is None:
        raise OSError("the URL has no host")
    context = ssl.create_default_context()
    if authority := os.environ.get(OWN_AUTHORITY):
        context.load_verify_locations(authority)
    place = (parts.hostname, parts.port or 443)
    with (
        socket.create_connection(place, timeout=_SECONDS) as connection,
        context.wrap_socket(connection, server_hostname=parts.hostname) as secured,
    ):
        shown = secured.getpeercert() or {}
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC)
