"""People who sign in at an OpenID Connect provider: their API server knows it, and that is all."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import expect
from tests.e2e.console.conftest import TEAM, World
from tests.e2e.console.test_page import CHROMIUM, browser  # noqa: F401 - a fixture
from tests.support.oidc import Provider, authentication_config, provider, signing_proxy

DANA, EVE = "dana@example.com", "eve@example.com"
ORDER = {"prompt": "A clock", "appType": "webapp", "namespace": TEAM, "name": "clock-of-dana"}


@dataclass
class Company:
    """A cluster whose people sign in elsewhere."""

    world: World
    provider: Provider

    @property
    def dana(self) -> str:
        return self.provider.token(DANA, "team-a")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def company(world: World, control_plane, tmp_path_factory) -> AsyncIterator[Company]:
    group = "rbac.authorization.k8s.io"
    await world.kubectl.apply(
        *(
            {
                "apiVersion": f"{group}/v1",
                "kind": "RoleBinding",
                "metadata": {"name": f"team-a-{role}", "namespace": TEAM},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": group, "kind": "Group", "name": "oidc:team-a"}],
            }
            for role in ("spawnai-session-editor", "spawnai-session-viewer")
        )
    )
    config = control_plane.directory / "authentication.json"
    async with provider(tmp_path_factory.mktemp("oidc")) as running:
        made = Company(world, running)
        config.write_text(authentication_config(running))
        async with asyncio.timeout(120):
            while await status_of(made, made.dana) != 200:
                await asyncio.sleep(0.5)
        yield made
    config.write_text(authentication_config())


async def status_of(company: Company, token: str) -> int:
    async with company.world.client(token) as client:
        return (await client.get("api/sessions", params={"namespace": TEAM})).status_code


async def test_an_id_token_is_a_token_and_its_group_has_rights(company, clean):
    async with clean.client(company.dana) as client:
        answer = await client.post("api/sessions", json=ORDER)
    assert answer.status_code == 201, answer.text
    async with clean.client(company.provider.token(EVE, "team-b")) as client:
        refused = await client.post("api/sessions", json=ORDER | {"name": "clock-of-eve"})
    assert refused.status_code == 403
    assert f'User "oidc:{EVE}" cannot create resource "spawnsessions"' in refused.json()["error"]


async def test_a_token_that_is_over_or_for_others_is_none(company):
    assert await status_of(company, company.provider.token(DANA, "team-a", lifetime=-60)) == 401
    other = company.provider.token(DANA, "team-a", audience="payroll")
    assert await status_of(company, other) == 401


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
async def test_behind_a_proxy_that_signs_people_in_the_page_asks_for_no_token(
    company,
    clean,
    browser,  # noqa: F811 - the fixture
):
    port = urlsplit(clean.console.url).port
    async with signing_proxy(port, company.dana) as url:
        page = await browser.new_page(locale="en-US")
        await page.goto(f"{url}#/new")
        # An ID token names no namespace.
        await page.click(".menu summary")
        await page.fill("#namespace", TEAM)
        await page.keyboard.press("Enter")
        await expect(page.locator(".menu summary")).to_contain_text(TEAM)
        await page.fill("#prompt", "A clock with a red hand")
        assert await page.locator("#token").count() == 0
        await page.keyboard.press("Control+Enter")
        await page.wait_for_url("**/#/s/clock-red-*")
        name = urlsplit(urlsplit(page.url).fragment).path.rpartition("/")[2]
        # Over the WebSocket, which brings no token of its own either.
        await clean.set_status(name, phase="Provisioning", progress=20)
        await expect(page.locator(".ends span").last).to_have_text("20%")
        await page.close()
