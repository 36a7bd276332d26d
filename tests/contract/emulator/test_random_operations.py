"""Random operations against the emulator and against plain dictionaries, which must agree.

The model below knows nothing of how the emulator keeps things: it is a dictionary of droplets, one
of firewalls, one of records and a set of tags, and the rules a client is told. After every step
both are compared in all that a client can list, and the answer to the step is held against
DigitalOcean's description.
"""

import json
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)
from tests.contract.openapi import violations

from spawnai_local.digitalocean import Delay, Delays, Emulator, Limits, ManualClock, Settings
from spawnai_local.digitalocean.exchange import Request

BOOT = 20.0
LIMIT = 6
TAGS = ("blue", "red", "session:1", "session:2")
TAGGING = ("POST", "DELETE")
NAMES = ("web", "api", "Web")
RECORD_NAMES = ("@", "app", "www")
RULE = {"protocol": "tcp", "ports": "443", "sources": {"addresses": ["0.0.0.0/0"]}}

droplet_ids = Bundle("droplet_ids")
firewall_ids = Bundle("firewall_ids")
record_ids = Bundle("record_ids")
name_lists = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3)
tag_sets = st.lists(st.sampled_from(TAGS), unique=True, max_size=3)


class RandomOperations(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        delays = Delays(boot=Delay(BOOT, BOOT), tags=Delay(0.0, 0.0))
        limits = Limits(droplets=LIMIT, rate_limited=False)
        self.clock = ManualClock()
        self.emulator = Emulator(self.clock, None, Settings(delays=delays, limits=limits))
        self.droplets: dict[int, dict[str, Any]] = {}
        self.firewalls: dict[str, dict[str, Any]] = {}
        self.records: dict[int, dict[str, Any]] = {}
        self.tags: set[str] = set()
        self.call("POST", "/v2/domains", {"name": "example.com"}, expect=201)
        for record in self.listed("/v2/domains/example.com/records", "domain_records"):
            self.records[record["id"]] = {"name": record["name"], "data": record["data"]}

    def call(self, method, path, body=None, *, expect):
        answer = self.send(method, path, body)
        assert answer.status == expect, (method, path, body, answer)
        endpoint = self.emulator.api.calls.log()[-1].endpoint
        assert violations(endpoint, answer.status, answer.body, strict=True) == []
        return answer.document()

    def send(self, method, path, body=None):
        path, _, text = path.partition("?")
        query = dict(pair.split("=") for pair in text.split("&")) if text else {}
        request = Request(
            method,
            path,
            query,
            {"authorization": "Bearer local-token"},
            b"" if body is None else json.dumps(body).encode(),
        )
        answer = self.emulator.api.call(request)
        assert answer is not None
        return answer

    def listed(self, path, key):
        mark = "&" if "?" in path else "?"
        found, page = [], 1
        while True:
            answer = self.send("GET", f"{path}{mark}per_page=3&page={page}").document()
            found += answer[key]
            if "next" not in answer["links"].get("pages", {}):
                assert len(found) == answer["meta"]["total"]
                return found
            page += 1

    def locked(self, droplet_id):
        return self.clock.now() < self.droplets[droplet_id]["active_at"]

    @rule(
        target=droplet_ids,
        names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3),
        tags=tag_sets,
    )
    def create_droplets(self, names, tags):
        order = {"names": names, "size": "s-1vcpu-1gb", "image": "debian-12-x64", "tags": tags}
        fits = len(self.droplets) + len(names) <= LIMIT
        answer = self.call("POST", "/v2/droplets", order, expect=202 if fits else 422)
        if not fits:
            assert "droplet limit" in answer["message"]
            return multiple()
        self.tags.update(tags)
        for droplet in answer["droplets"]:
            self.droplets[droplet["id"]] = {
                "name": droplet["name"],
                "tags": set(tags),
                "active_at": self.clock.now() + BOOT,
            }
        return multiple(*(droplet["id"] for droplet in answer["droplets"]))

    @rule(droplet_id=droplet_ids)
    def delete_droplet(self, droplet_id):
        path = f"/v2/droplets/{droplet_id}"
        if droplet_id not in self.droplets:
            self.call("DELETE", path, expect=404)
        elif self.locked(droplet_id):
            self.call("DELETE", path, expect=422)
        else:
            self.call("DELETE", path, expect=204)
            del self.droplets[droplet_id]
            for firewall in self.firewalls.values():
                firewall["droplet_ids"].discard(droplet_id)

    @rule(
        droplet_id=droplet_ids,
        tag=st.sampled_from(TAGS),
        method=st.sampled_from(["POST", "DELETE"]),
    )
    def tag_droplet(self, droplet_id, tag, method):
        resource = {"resource_id": str(droplet_id), "resource_type": "droplet"}
        known = droplet_id in self.droplets or method == "DELETE"
        expect = 204 if tag in self.tags and known else 404
        self.call(method, f"/v2/tags/{tag}/resources", {"resources": [resource]}, expect=expect)
        if expect == 204 and droplet_id in self.droplets:
            tags = self.droplets[droplet_id]["tags"]
            (tags.add if method == "POST" else tags.discard)(tag)

    @rule(tag=st.sampled_from(TAGS))
    def make_tag(self, tag):
        self.call("POST", "/v2/tags", {"name": tag}, expect=201)
        self.tags.add(tag)

    @rule(tag=st.sampled_from(TAGS))
    def delete_tag(self, tag):
        self.call("DELETE", f"/v2/tags/{tag}", expect=204 if tag in self.tags else 404)
        self.tags.discard(tag)
        for droplet in self.droplets.values():
            droplet["tags"].discard(tag)
        for firewall in self.firewalls.values():
            firewall["tags"].discard(tag)

    @rule(
        target=firewall_ids,
        name=st.sampled_from(["fw-1", "fw-2"]),
        tags=tag_sets,
        droplets=st.lists(droplet_ids, max_size=2),
    )
    def create_firewall(self, name, tags, droplets):
        order = {"name": name, "inbound_rules": [RULE], "tags": tags, "droplet_ids": droplets}
        if not set(tags) <= self.tags or not set(droplets) <= set(self.droplets):
            expect = 422
        elif name in {firewall["name"] for firewall in self.firewalls.values()}:
            expect = 409
        else:
            expect = 202
        answer = self.call("POST", "/v2/firewalls", order, expect=expect)
        if expect != 202:
            return multiple()
        identifier = answer["firewall"]["id"]
        self.firewalls[identifier] = {
            "name": name,
            "tags": set(tags),
            "droplet_ids": set(droplets),
        }
        return identifier

    @rule(firewall_id=firewall_ids, droplet_id=droplet_ids)
    def cover_droplet(self, firewall_id, droplet_id):
        expect = 404
        if firewall_id in self.firewalls:
            expect = 204 if droplet_id in self.droplets else 422
        path = f"/v2/firewalls/{firewall_id}/droplets"
        self.call("POST", path, {"droplet_ids": [droplet_id]}, expect=expect)
        if expect == 204:
            self.firewalls[firewall_id]["droplet_ids"].add(droplet_id)

    @rule(firewall_id=consumes(firewall_ids))
    def delete_firewall(self, firewall_id):
        path = f"/v2/firewalls/{firewall_id}"
        self.call("DELETE", path, expect=204 if firewall_id in self.firewalls else 404)
        self.firewalls.pop(firewall_id, None)

    @rule(target=record_ids, name=st.sampled_from(RECORD_NAMES), last=st.integers(1, 3))
    def create_record(self, name, last):
        order = {"type": "A", "name": name, "data": f"127.0.0.{last}", "ttl": 30}
        path = "/v2/domains/example.com/records"
        record = self.call("POST", path, order, expect=201)["domain_record"]
        self.records[record["id"]] = {"name": name, "data": order["data"]}
        return record["id"]

    @rule(record_id=record_ids, last=st.integers(1, 3))
    def change_record(self, record_id, last):
        known = record_id in self.records
        order = {"type": "A", "data": f"127.0.0.{last}"}
        path = f"/v2/domains/example.com/records/{record_id}"
        self.call("PUT", path, order, expect=200 if known else 404)
        if known:
            self.records[record_id]["data"] = order["data"]

    @rule(record_id=record_ids)
    def delete_record(self, record_id):
        path = f"/v2/domains/example.com/records/{record_id}"
        self.call("DELETE", path, expect=204 if record_id in self.records else 404)
        self.records.pop(record_id, None)

    @rule(seconds=st.sampled_from([0.0, 1.0, BOOT / 2, BOOT, 100.0]))
    def let_time_pass(self, seconds):
        self.clock.advance(seconds)

    @invariant()
    def all_droplets_are_listed_as_they_are(self):
        listed = {one["id"]: one for one in self.listed("/v2/droplets", "droplets")}
        assert set(listed) == set(self.droplets)
        for identifier, droplet in listed.items():
            wanted = self.droplets[identifier]
            assert (droplet["name"], set(droplet["tags"])) == (wanted["name"], wanted["tags"])
            assert droplet["locked"] is self.locked(identifier)
            assert droplet["status"] == ("new" if self.locked(identifier) else "active")
        addresses = [
            address["ip_address"] for one in listed.values() for address in one["networks"]["v4"]
        ]
        assert len(addresses) == len(set(addresses))

    @invariant()
    def droplets_are_found_by_each_tag(self):
        for tag in TAGS:
            listed = {one["id"] for one in self.listed(f"/v2/droplets?tag_name={tag}", "droplets")}
            assert listed == {
                identifier for identifier, one in self.droplets.items() if tag in one["tags"]
            }
        assert {tag["name"] for tag in self.listed("/v2/tags", "tags")} == self.tags

    @invariant()
    def firewalls_are_as_they_were_made(self):
        listed = {one["id"]: one for one in self.listed("/v2/firewalls", "firewalls")}
        assert set(listed) == set(self.firewalls)
        for identifier, wanted in self.firewalls.items():
            assert set(listed[identifier]["tags"]) == wanted["tags"]
            assert set(listed[identifier]["droplet_ids"]) == wanted["droplet_ids"]

    @invariant()
    def records_are_as_they_were_made_and_found_by_name(self):
        path = "/v2/domains/example.com/records"
        listed = {one["id"]: one for one in self.listed(path, "domain_records")}
        assert {
            identifier: {"name": one["name"], "data": one["data"]}
            for identifier, one in listed.items()
        } == self.records
        found = {one["id"] for one in self.listed(f"{path}?name=app.example.com", "domain_records")}
        assert found == {one for one, record in self.records.items() if record["name"] == "app"}


RandomOperations.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, derandomize=True
)
TestRandomOperations = RandomOperations.TestCase
