"""What can go wrong with a call to DigitalOcean, named by what the caller does next.

    DigitalOceanError
    ├── NotFound        the object is not there (a real 404, in DigitalOcean's own words)
    ├── Unauthorized    the token is wrong: nothing works until it is replaced
    │   └── Forbidden       the token lacks a scope, or the account may not do this
    ├── RateLimited     too many calls: nothing happened, come back after `retry_after_seconds`
    ├── OverQuota       a limit of the account: wait until something goes, or raise the limit
    ├── NoCapacity      this size cannot be had in this region now: take the next region
    ├── UnknownOption   such a size, region or image does not exist: choose another
    │   └── ImageNotInRegion   the image exists, but not in this region: take the next region
    ├── Refused         any other "no": the same call will get the same answer
    │   └── AlreadyExists   another object has that (unique) name: look for it
    ├── Busy            an action on the object is still running: repeat later
    ├── Unavailable     no usable answer; nothing happened, or repeating is safe
    └── Ambiguous       no usable answer to a POST that may have been carried out: look first

Only a POST can be Ambiguous: DigitalOcean has no idempotency key, so a repeated POST may make a
second object. GET, PUT and DELETE come to the same end however often they are sent, and so do the
POSTs that make or put on a tag, or give a name.
"""

import re

_WORD_START = re.compile(r"(?<!^)(?=[A-Z])")


class DigitalOceanError(Exception):
    """Any failed call. Its text names the call; `message` holds DigitalOcean's own words.

    Attributes:
        message: DigitalOcean's own words, or ours when it said nothing usable. Holds no secret.
        endpoint: the call as a template, such as "DELETE /v2/droplets/{id}".
        status: the HTTP status, or None when there was no answer.
        request_id: DigitalOcean's id for the request, which its support asks for.
    """

    def __init__(
        self,
        message: str,
        *,
        endpoint: str = "",
        status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        self.message = message
        self.endpoint = endpoint
        self.status = status
        self.request_id = request_id
        answer = f"answered {status}" if status is not None else "gave no answer"
        request = f" (request {request_id})" if request_id else ""
        super().__init__(f"DigitalOcean {answer} to {endpoint or 'a call'}: {message}{request}")

    @classmethod
    def result_name(cls) -> str:
        """The class's name in snake case, as metrics show it."""
        return _WORD_START.sub("_", cls.__name__).lower()


class NotFound(DigitalOceanError):
    """The object is not there, in DigitalOcean's own words (not a proxy's 404 page)."""


class Unauthorized(DigitalOceanError):
    """The token is wrong, was revoked, or lacks the right to do this."""


class Forbidden(Unauthorized):
    """The token works but lacks a scope, or may only read, or the account may not do this."""


class RateLimited(DigitalOceanError):
    """The token's calls for this minute or hour are used up. Nothing happened.

    Attributes:
        retry_after_seconds: how long DigitalOcean asks to wait.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after_seconds: float,
        endpoint: str = "",
        status: int | None = 429,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, endpoint=endpoint, status=status, request_id=request_id)
        self.retry_after_seconds = retry_after_seconds


class OverQuota(DigitalOceanError):
    """One more would exceed the account's limit of droplets or load balancers. Nothing was made."""


class NoCapacity(DigitalOceanError):
    """The size is not to be had in that region now. Nothing was made; try the next region."""


class UnknownOption(DigitalOceanError):
    """The size, region or image does not exist (or not any more). Nothing was made."""

    @property
    def option(self) -> str | None:
        """Which of them DigitalOcean's words name: "size", "region" or "image"."""
        named = [option for option in ("size", "region", "image") if option in self.message.lower()]
        return named[0] if len(named) == 1 else None


class ImageNotInRegion(UnknownOption):
    """The image was not transferred to the region. Another region may have it."""

    @property
    def option(self) -> str | None:
        """The region, whatever DigitalOcean's words name besides."""
        return "region"


class Refused(DigitalOceanError):
    """DigitalOcean said no for a reason that repeating does not change. Nothing happened."""


class AlreadyExists(Refused):
    """An object of this kind with that unique name is there already. Nothing was made."""


class Busy(DigitalOceanError):
    """Another action on the object is still running. Nothing happened; repeat later."""


class Unavailable(DigitalOceanError):
    """No usable answer. Nothing happened, or sending the same call again does no harm."""


class Ambiguous(DigitalOceanError):
    """A POST was sent and no usable answer came: the object may exist. Look before a second one."""
