"""What can be seen and set below `/_local/`: calls, bill, state, history, canaries."""

import asyncio
from decimal import Decimal
from typing import ClassVar

import aiohttp
import pytest
from tests.contract.emulator.support import DROPLET, OTHER_SESSION, SESSION

from spawnai_local.digitalocean import Limits, Settings
from spawnai_local.digitalocean.client import ControlError
from spawnai_local.digitalocean.state.bill import charge

PRICE = Decimal("0.00893")
WEB = {"protocol": "tcp", "ports": "80", "sources": {"addresses": ["0.0.0.0/0"]}}


class TestCalls:
    async def test_calls_are_counted_in_all_by_endpoint_and_by_minute(
        self, account, control, clock
    ):
        await account.get("/v2/account")
        await account.get("/v2/droplets/1")
        clock.advance(60)
        await account.get("/v2/droplets/2")
        calls = await control.calls()
        assert calls["total"] == 3
        assert calls["by_endpoint"]["GET /v2/droplets/{droplet_id}"]["statuses"] == {"404": 2}
        assert list(calls["per_minute"].values()) == [2, 1]
        assert calls["server_seconds"]["n"] == 3
        assert calls["server_seconds"]["median"] > 0
        await control.reset_calls()
        assert (await control.calls())["total"] == 0

    async def test_a_call_that_is_held_is_counted_when_it_comes(self, account, control, clock):
        [fault] = await control.add_faults("POST /v2/tags timeout_after seconds=100")
        held = asyncio.create_task(account.post("/v2/tags", {"name": "a"}))
        await control.wait_for_fault(fault["id"])
        calls = await control.calls(sessions=False)
        assert (calls["total"], calls["held"]) == (1, 1)
        [line] = await control.call_log()
        assert (line["status"], line["ended_at"]) == (None, None)
        clock.advance(100)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await held
        calls = await control.calls()
        assert (calls["total"], calls["held"]) == (1, 0)
        assert calls["by_endpoint"]["POST /v2/tags"]["statuses"] == {"no answer": 1}

    async def test_a_sessions_calls_are_known_by_tag_id_name_and_address(self, account, control):
        droplet = await account.active_droplet("a", tags=[f"session:{SESSION}"])
        await account.active_droplet("b", tags=[f"session:{OTHER_SESSION}"])
        await account.get("/v2/droplets", tag_name=f"session:{SESSION}")
        public = next(
            one["ip_address"] for one in droplet["networks"]["v4"] if one["type"] == "public"
        )
        await account.post("/v2/domains", {"name": "example.com"})
        record = await account.post(
            "/v2/domains/example.com/records", {"type": "A", "name": "x", "data": public}
        )
        await account.get("/v2/domains/example.com/records", name="x.example.com")
        firewall = await account.post(
            "/v2/firewalls",
            {"name": "fw-1", "inbound_rules": [WEB], "droplet_ids": [droplet["id"]]},
        )
        named = await account.post(
            "/v2/firewalls", {"name": f"fw-{SESSION}", "inbound_rules": [WEB]}
        )
        for one in (firewall, named):
            await account.delete(f"/v2/firewalls/{one.body['firewall']['id']}")
        record_id = record.body["domain_record"]["id"]
        await account.delete(f"/v2/domains/example.com/records/{record_id}")
        await account.delete(f"/v2/droplets/{droplet['id']}")
        await account.get(f"/v2/droplets/{droplet['id']}")
        of_session = (await control.calls())["by_session"][SESSION]
        assert of_session["by_endpoint"] == {
            "DELETE /v2/domains/{domain_name}/records/{domain_record_id}": 1,
            "DELETE /v2/droplets/{droplet_id}": 1,
            "DELETE /v2/firewalls/{firewall_id}": 2,
            "GET /v2/domains/{domain_name}/records": 1,
            "GET /v2/droplets": 1,
            "GET /v2/droplets/{droplet_id}": 2,
            "POST /v2/domains/{domain_name}/records": 1,
            "POST /v2/droplets": 1,
            "POST /v2/firewalls": 2,
        }
        assert of_session["total"] == 12

    async def test_the_log_tells_each_call_with_its_fault_and_its_moments(
        self, account, control, clock
    ):
        await control.add_faults("GET /v2/account error_before status=500")
        await account.get("/v2/account")
        await account.get("/v2/account")
        first, second = await control.call_log()
        assert (first["status"], second["status"]) == (500, 200)
        assert first["fault"].startswith("GET /v2/account error_before")
        assert second["fault"] is None
        assert first["received_at"] == first["ended_at"] == clock.now()
        assert [one["number"] for one in await control.call_log(after=first["number"])] == [
            second["number"]
        ]

    async def test_an_unauthorized_call_and_one_without_a_path_are_counted_too(
        self, account, control
    ):
        await account.send("GET", "/v2/account", headers={})
        await account.get("/v2/nothing")
        assert (await control.calls())["by_endpoint"]["(no such path)"]["statuses"] == {
            "401": 1,
            "501": 1,
        }


class TestBill:
    # Created at 0 s, deleted after so many seconds: the dollars owed at 0.00893 an hour.
    @pytest.mark.parametrize(
        ("seconds", "dollars"),
        [
            (0, "0.010000"),  # the least is one cent
            (60, "0.010000"),
            (3600, "0.010000"),  # an hour costs 0.00893, still below the least
            (4032, "0.010002"),  # just above it
            (7200, "0.017860"),
            (7201, "0.017862"),
            (86400, "0.214320"),
        ],
    )
    def test_a_second_is_a_second_and_a_cent_the_least(self, seconds, dollars):
        assert charge(PRICE, 1_800_000_000.0, 1_800_000_000.0 + seconds) == Decimal(dollars)

    def test_a_dear_droplet_costs_at_least_60_seconds(self):
        assert charge(Decimal(36), 0.0, 1.0) == Decimal("0.600000")

    def test_a_calendar_month_costs_at_most_672_hours(self):
        january, march = 1_798_761_600.0, 1_803_859_200.0  # 2027-01-01 and 2027-03-01, UTC
        assert charge(PRICE, january, march) == (PRICE * 672 * 2).quantize(Decimal("0.000001"))

    async def test_the_bill_is_kept_after_deletion_and_stops_with_it(self, account, control, clock):
        droplet = await account.active_droplet("a", tags=["session:1"])
        clock.advance(7200 - 60)
        await account.delete(f"/v2/droplets/{droplet['id']}")
        clock.advance(10_000)
        bill = await control.bill()
        [line] = bill["droplets"]
        assert (line["seconds"], line["dollars"]) == (7200, "0.017860")
        assert line["deleted_at"] - line["created_at"] == 7200
        assert (bill["dollars"], bill["currency"]) == ("0.017860", "USD")
        balance = (await account.get("/v2/customers/my/balance")).body
        assert balance["month_to_date_usage"] == "0.02"

    async def test_a_droplet_that_is_off_is_billed_all_the_same(self, account, control, clock):
        droplet = await account.active_droplet()
        await account.post(f"/v2/droplets/{droplet['id']}/actions", {"type": "power_off"})
        clock.advance(7200 - 60)
        assert (await control.bill())["dollars"] == "0.017860"


class TestStateAndHistory:
    async def test_state_shows_what_the_account_holds(self, account, control):
        await account.active_droplet("a", tags=["blue"], user_data="#cloud-config\n")
        await account.post("/v2/domains", {"name": "example.com"})
        state = await control.state()
        [droplet] = state["droplets"]
        assert (droplet["name"], droplet["shell"], droplet["user_data_bytes"]) == ("a", True, 14)
        assert state["tags"] == {"blue": 1}
        assert [one["name"] for one in state["domains"]] == ["example.com"]
        assert state["dns_port"] == account.emulator.dns.port

    async def test_history_tells_changes_in_order(self, account, control):
        droplet = await account.active_droplet("a")
        await account.delete(f"/v2/droplets/{droplet['id']}")
        changes = await control.history()
        assert [one["what"] for one in changes] == [
            "droplet created",
            "password mailed",
            "droplet active",
            "droplet deleted",
            "droplet gone",
        ]
        assert {one["id"] for one in changes} == {str(droplet["id"])}
        assert len(await control.history(after=changes[2]["number"])) == 2

    async def test_a_record_that_outlives_its_droplet_is_seen_dangling(self, account, control):
        droplet = await account.active_droplet("a")
        [summary] = (await control.state())["droplets"]
        await account.post("/v2/domains", {"name": "example.com"})
        await account.post(
            "/v2/domains/example.com/records",
            {"type": "A", "name": "x", "data": summary["public_address"]},
        )
        await account.delete(f"/v2/droplets/{droplet['id']}")
        assert "record dangling" in [one["what"] for one in await control.history()]


class TestCanaries:
    ORDER: ClassVar = {
        "tags": ["prod"],
        "droplets": [{"name": "spawn-web-1", "tags": ["spawn-ai", "production"]}],
        "firewalls": [{"name": "fw-prod", "inbound_rules": [WEB], "tags": ["prod"]}],
        "domains": [{"name": "example.com"}],
        "records": [{"domain": "example.com", "type": "A", "name": "www", "data": "127.9.9.9"}],
    }

    @pytest.fixture
    def settings(self):
        return Settings(limits=Limits(droplets=0))

    async def test_canaries_stand_at_once_past_limits_and_are_intact(self, account, control):
        placed = await control.seed(**self.ORDER)
        assert {kind: len(ids) for kind, ids in placed.items()} == dict.fromkeys(self.ORDER, 1)
        droplet = (await account.get(f"/v2/droplets/{placed['droplets'][0]}")).body["droplet"]
        assert (droplet["status"], len(droplet["networks"]["v4"])) == ("active", 2)
        assert await control.canaries() == {"intact": True, "placed": 5, "touched": []}

    async def test_one_that_is_changed_or_deleted_is_told(self, account, control):
        placed = await control.seed(**self.ORDER)
        await account.delete(f"/v2/droplets/{placed['droplets'][0]}")
        await account.put(
            f"/v2/firewalls/{placed['firewalls'][0]}", {"name": "fw-prod", "inbound_rules": [WEB]}
        )
        domain, _, record = placed["records"][0].partition("/")
        await account.put(
            f"/v2/domains/{domain}/records/{record}", {"type": "A", "data": "127.9.9.8"}
        )
        told = await control.canaries()
        assert told["intact"] is False
        assert {(one["kind"], one["what"] == "gone") for one in told["touched"]} == {
            ("droplets", True),
            ("firewalls", False),
            ("records", False),
        }

    async def test_a_firewall_that_settles_is_no_change(self, control, clock):
        await control.seed(**self.ORDER)
        clock.advance(60)
        assert (await control.canaries())["intact"] is True

    async def test_canaries_are_billed_apart(self, control, clock):
        await control.seed(**self.ORDER)
        clock.advance(7200)
        bill = await control.bill()
        assert (bill["dollars"], bill["dollars_without_canaries"]) == ("0.017860", "0")

    async def test_a_seed_that_makes_no_sense_is_refused_in_words(self, control):
        with pytest.raises(ControlError, match="nothing is called volumes"):
            await control.seed(volumes=[{}])
        with pytest.raises(ControlError, match="hostnames"):
            await control.seed(droplets=[{"name": "a b"}])


class TestRefusals:
    async def test_a_path_that_is_none_and_a_value_that_makes_no_sense_are_told(
        self, account, control
    ):
        assert (await account.get("/_local/nothing")).status == 404
        assert (await account.get("/_local/faults/7")).status == 404
        assert (await account.put("/_local/limits", b"{")).status == 400
        for limits in ({"droplets": -1}, {"rate_limited": 1}, {"speed": 1}):
            with pytest.raises(ControlError):
                await control.set_limits(**limits)
        with pytest.raises(ControlError, match="mars1"):
            await control.set_capacity(closed_regions=("mars1",))

    async def test_the_account_can_be_locked_for_all_to_see(self, account):
        await account.put("/_local/account", {"status": "locked", "status_message": "unpaid"})
        shown = (await account.get("/v2/account")).body["account"]
        assert (shown["status"], shown["status_message"]) == ("locked", "unpaid")

    async def test_the_control_api_needs_no_token_and_is_not_counted(self, account, control):
        reply = await account.send("GET", "/_local/state", headers={})
        assert reply.status == 200
        assert (await control.calls())["total"] == 0


async def test_seeding_can_place_without_watching(account, control):
    placed = await control.seed(canary=False, droplets=[{"name": "old", **DROPLET}])
    await account.delete(f"/v2/droplets/{placed['droplets'][0]}")
    assert await control.canaries() == {"intact": True, "placed": 0, "touched": []}
