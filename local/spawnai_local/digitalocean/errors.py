"""The errors DigitalOcean's API answers, in its own words where they are publicly known.

Where the words are known they come from issues and clients' sources that quote the API; they are
kept exactly, because clients recognise the kinds of a 422 by nothing else. Where nobody has quoted
them, the sentence is ours and says what was wrong.
"""


class ApiError(Exception):
    """An answer other than success: the HTTP status, DigitalOcean's id for it and its message."""

    def __init__(
        self, status: int, identifier: str, message: str, *, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.identifier = identifier
        self.message = message
        self.headers = headers or {}


LOWEST_STATUS = 400
"""The lowest HTTP status that is an error."""
IDENTIFIERS = {
    400: "bad_request",
    401: "Unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    412: "precondition_failed",
    422: "unprocessable_entity",
    429: "too_many_requests",
    500: "server_error",
    502: "bad_gateway",
    501: "not_implemented",
    503: "service_unavailable",
    504: "gateway_timeout",
}
MESSAGES = {
    401: "Unable to authenticate you",
    404: "The resource you requested could not be found.",
    429: "API Rate limit exceeded.",
    500: "Unexpected server-side error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


def of_status(status: int, message: str | None = None) -> ApiError:
    """Return the usual error of an HTTP status, with another message if one is given."""
    return ApiError(
        status,
        IDENTIFIERS.get(status, "error"),
        message if message is not None else MESSAGES.get(status, f"HTTP status {status}"),
    )


def bad_request(message: str) -> ApiError:
    """400: the request could not be read."""
    return of_status(400, message)


def unauthorized() -> ApiError:
    """401: no token, or not one of this account."""
    return of_status(401)


def not_found() -> ApiError:
    """404: there is no such object, or no such path."""
    return of_status(404)


def not_emulated(method: str, path: str) -> ApiError:
    """501: nothing is known here of such a path, so nothing may follow from the answer.

    A 404 would be taken for the proof that an object is gone.
    """
    return of_status(501, f"The local cloud does not emulate {method} {path}.")


def missing_scope() -> ApiError:
    """403: the token has custom scopes, and not this one."""
    return of_status(403, "You are not authorized to perform this operation")


def read_only() -> ApiError:
    """403: the token may only read."""
    return of_status(403, "You do not have access for the attempted action.")


def account_locked() -> ApiError:
    """403: nothing can be made in a locked account. The words are ours."""
    return of_status(403, "Your account is locked. Please contact support.")


def conflict(message: str) -> ApiError:
    """409: in the way of something that exists."""
    return of_status(409, message)


def unprocessable(message: str) -> ApiError:
    """422: understood, and refused."""
    return of_status(422, message)


def over_droplet_limit() -> ApiError:
    """422: the account may not have so many droplets."""
    return unprocessable("creating this/these droplet(s) will exceed your droplet limit")


def pending_event() -> ApiError:
    """422: another action of the droplet is still under way."""
    return unprocessable("Droplet already has a pending event.")


def size_not_available() -> ApiError:
    """422: not offered in that region, or sold out there: the API says the same of both."""
    return unprocessable("Size is not available in this region.")


def size_restricted() -> ApiError:
    """422: the account may not have this size at present."""
    return unprocessable("The requested size is currently restricted.")


def image_not_in_region() -> ApiError:
    """422: the image was not transferred to the region."""
    return unprocessable(
        "The image you specified is not available in the selected region, you can transfer it to "
        "this region from your images page."
    )


def region_not_available() -> ApiError:
    """422: the region takes no new droplets at present."""
    return unprocessable("Region is not available")


def invalid_option(option: str) -> ApiError:
    """422: no such size, region or image exists."""
    return unprocessable(f"You specified an invalid {option} for Droplet creation.")
