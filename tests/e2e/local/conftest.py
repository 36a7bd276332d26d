"""One `make local` for all that is done with it from another terminal."""

from collections.abc import Iterator

import pytest
from tests.support.local_program import Local, local


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with local(tmp_path_factory.mktemp("local") / "stack") as running:
        running.until_up()
        yield running
