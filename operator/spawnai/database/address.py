"""The address of a PostgreSQL or SQLite database, as users write it."""

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

_DRIVERS = {"postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg",
            "sqlite": "sqlite+aiosqlite"}  # fmt: skip


class DatabaseAddressError(ValueError):
    """The address of the database cannot be used; the message says what to write."""


def database_url(text: str) -> URL:
    """The address, with the driver that we bring. Its text form hides the password.

    Raises:
        DatabaseAddressError: it is no address of PostgreSQL or SQLite. The message holds no part
            of it, as it may hold a password.
    """
    try:
        url = make_url(text)
    except ArgumentError:
        url = None
    driver = _DRIVERS.get(url.drivername.split("+", 1)[0]) if url is not None else None
    if url is None or driver is None:
        raise DatabaseAddressError(
            "the address of the database cannot be read: write "
            "postgresql://user:password@host/database or sqlite:///file.db"
        )
    return url.set(drivername=driver)
