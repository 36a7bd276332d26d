"""What end-to-end tests share: one real control plane for the whole session, and its event loop."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.support.oidc import authentication_config

from spawnai_local.control_plane import ControlPlane


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run asynchronous end-to-end tests in the session's loop, where the control plane lives."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def control_plane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ControlPlane]:
    """A control plane of its own for this test session; a test names its objects for itself."""
    directory = tmp_path_factory.mktemp("control-plane")
    # Read again when it changes: a test of sign-in names its provider there.
    config = directory / "authentication.json"
    config.write_text(authentication_config())
    flags = [f"--authentication-config={config}"]
    async with ControlPlane(directory, unsafe_no_fsync=True, api_server_flags=flags) as running:
        yield running
