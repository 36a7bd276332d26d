"""What a token lacks is found out by calls that change nothing."""

import pytest

from spawnai.clock import SystemClock
from spawnai.digitalocean import errors, scopes
from spawnai.digitalocean.account import Catalog
from spawnai.digitalocean.budget import Priority, RateBudget
from spawnai.digitalocean.client import ApiClient
from spawnai.digitalocean.droplets import Droplets
from spawnai.digitalocean.firewalls import Firewalls

NEW = Priority.NEW
DOMAIN = "example.com"
PROBED = (*scopes.BASE, *scopes.of_domain(DOMAIN), *scopes.POOLS)


@pytest.fixture
async def catalog(emulator):
    api = ApiClient("limited", emulator.url, RateBudget(SystemClock()))
    yield Catalog(api)
    await api.close()


async def test_a_token_with_full_access_lacks_nothing_and_nothing_is_made(
    emulator, control, catalog
):
    await control.seed(domains=[{"name": DOMAIN}], droplets=[{"name": "db"}])
    before = await control.state()
    await control.set_token("limited")
    assert await catalog.missing_scopes(PROBED, priority=NEW) == ()
    after = await control.state()
    for kind in ("tags", "droplets", "firewalls", "domains"):
        assert after[kind] == before[kind]
    assert (await control.canaries())["intact"]


@pytest.mark.parametrize("missing", [scope.name for scope in PROBED])
async def test_each_missing_scope_is_named_and_no_other(control, catalog, missing):
    await control.seed(domains=[{"name": DOMAIN}])
    names = {scope.name for scope in PROBED} - {missing} | {"image:read"}
    await control.set_token("limited", sorted(names))
    found = await catalog.missing_scopes(PROBED, priority=NEW)
    assert [scope.name for scope in found] == [missing]


async def test_a_token_that_may_only_read_lacks_all_the_rest(control, catalog):
    await control.seed(domains=[{"name": DOMAIN}])
    reads = {scope.name for scope in PROBED if scope.name.endswith(":read")}
    await control.set_token("limited", sorted(reads))
    found = await catalog.missing_scopes(PROBED, priority=NEW)
    assert {scope.name for scope in found} == {scope.name for scope in PROBED} - reads


async def test_any_other_missing_scope_is_named_by_the_call_that_needs_it(emulator, control):
    await control.set_token("limited", ["droplet:read", "account:read", "tag:read"])
    api = ApiClient("limited", emulator.url, RateBudget(SystemClock()))
    with pytest.raises(errors.Forbidden, match=r"may lack the scope droplet:delete\)"):
        await Droplets(api).delete(1, priority=NEW)
    await control.set_token("limited", ["droplet:create"])
    with pytest.raises(errors.Forbidden, match=r"not authorized.*may lack the scope tag:create\)"):
        await Firewalls(api).ensure_tag("blue", priority=NEW)
    await api.close()


async def test_a_wrong_token_lacks_no_scope_but_is_refused(catalog):
    with pytest.raises(errors.Unauthorized) as caught:
        await catalog.missing_scopes(PROBED, priority=NEW)
    assert type(caught.value) is errors.Unauthorized


async def test_a_locked_account_says_so_with_its_reason(control, catalog):
    await control.set_token("limited")
    await control.change_account(status="locked", status_message="Please contact support.")
    account = await catalog.account(priority=NEW)
    assert (account.status, account.message) == ("locked", "Please contact support.")
