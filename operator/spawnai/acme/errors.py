"""What can go wrong with an order for a certificate, named by what the caller does next.

    AcmeError
    ├── AcmeUnavailable     no usable answer: repeating the step is safe
    ├── AcmeLimited         one of the server's limits: nothing before `retry_at`
    ├── AcmeRefused         the server will not certify this name or address: a person has to act
    ├── ChallengeFailed     the server looked for the proof and did not find it: order again later
    ├── OrderExpired        the order does not exist any more: order again
    └── AccountRefused      the account is closed, or the server wants one that it knows

The text of each is for people and holds no key.
"""

from datetime import datetime


class AcmeError(Exception):
    """An order did not succeed; `message` says why in words for people."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class AcmeUnavailable(AcmeError):
    """No answer, or one that says to come again. Each step may be repeated."""


class AcmeLimited(AcmeError):
    """A limit of the server is reached, by its own word or by our count.

    Attributes:
        retry_at: when an order can succeed again, as far as that is known.
        limit: which one: orders, domain, identifiers, failures or accounts.
    """

    def __init__(self, message: str, *, retry_at: datetime, limit: str) -> None:
        super().__init__(message)
        self.retry_at = retry_at
        self.limit = limit


class AcmeRefused(AcmeError):
    """The server does not certify this name or address, whatever is done on the droplet.

    Attributes:
        reason: one word for a condition, such as CAAForbids.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class ChallengeFailed(AcmeError):
    """The server did not find the proof where it looked. The order is void."""


class OrderExpired(AcmeError):
    """The server knows nothing of the order any more."""


class AccountRefused(AcmeError):
    """The server does not serve this account."""
