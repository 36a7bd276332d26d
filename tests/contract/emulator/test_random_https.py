"""Random operations on load balancers, certificates and images, against plain dictionaries.

The model below knows only the rules that a client is told. After every step both are compared in
all that a client can list, and each answer is held against DigitalOcean's description.
"""

import json
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)
from tests.contract.openapi import violations

from spawnai_local.digitalocean import Delay, Delays, Emulator, Limits, ManualClock, Settings
from spawnai_local.digitalocean.exchange import Request

SECONDS = {
    "load_balancer": 90.0,
    "load_balancer_change": 15.0,
    "certificate": 12.0,
    "certificate_release": 5.0,
    "snapshot": 40.0,
    "transfer": 1000.0,
}
LIMIT = 3
HTTP = {"entry_protocol": "http", "entry_port": 80, "target_protocol": "http", "target_port": 80}
HTTPS = {**HTTP, "entry_protocol": "https", "entry_port": 443}
REGIONS = ("nyc3", "ams3", "lon1")
NAMES = st.sampled_from(["one", "two", "three"])

balancers = Bundle("balancers")
certificates = Bundle("certificates")
images = Bundle("images")


class RandomHttps(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        delays = {name: Delay(value, value) for name, value in SECONDS.items()}
        self.clock = ManualClock()
        self.emulator = Emulator(
            self.clock,
            None,
            Settings(
                delays=Delays(**delays, boot=Delay(0.0, 0.0)),
                limits=Limits(load_balancers=LIMIT, rate_limited=False),
            ),
        )
        self.balancers: dict[str, dict[str, Any]] = {}
        self.certificates: dict[str, dict[str, Any]] = {}
        self.released: dict[str, float] = {}
        self.images: dict[int, dict[str, Any]] = {}
        self.busy_until = 0.0
        self.call("POST", "/v2/domains", {"name": "example.com"}, expect=201)
        order = {"name": "builder", "size": "s-1vcpu-1gb", "image": "debian-12-x64"}
        self.droplet = self.call("POST", "/v2/droplets", order, expect=202)["droplet"]["id"]
        self.clock.advance(1)

    def call(self, method, path, body=None, *, expect):
        path, _, text = path.partition("?")
        query = dict(pair.split("=") for pair in text.split("&")) if text else {}
        content = b"" if body is None else json.dumps(body).encode()
        token = {"authorization": "Bearer local-token"}
        answer = self.emulator.api.call(Request(method, path, query, token, content))
        assert answer is not None
        assert answer.status == expect, (method, path, body, answer)
        endpoint = self.emulator.api.calls.log()[-1].endpoint
        assert violations(endpoint, answer.status, answer.body, strict=True) == []
        return answer.document()

    def used(self, certificate):
        held = self.clock.now() < self.released.get(certificate, 0.0)
        return held or any(one["certificate"] == certificate for one in self.balancers.values())

    @rule(target=certificates, name=NAMES, ours=st.booleans())
    def order_certificate(self, name, ours):
        names = ["*.example.com"] if ours else ["nobody.example"]
        order = {"name": name, "type": "lets_encrypt", "dns_names": names}
        twin = name in {one["name"] for one in self.certificates.values()}
        expect = 201 if ours and not twin else 422
        answer = self.call("POST", "/v2/certificates", order, expect=expect)
        if expect != 201:
            return multiple()
        made = answer["certificate"]["id"]
        ready = self.clock.now() + SECONDS["certificate"]
        self.certificates[made] = {"name": name, "ready": ready}
        return made

    @rule(certificate=certificates)
    def delete_certificate(self, certificate):
        expect = 404
        if certificate in self.certificates:
            expect = 403 if self.used(certificate) else 204
        self.call("DELETE", f"/v2/certificates/{certificate}", expect=expect)
        if expect == 204:
            del self.certificates[certificate]

    def verified(self, certificate):
        known = self.certificates.get(certificate)
        return known is not None and self.clock.now() >= known["ready"]

    @rule(target=balancers, name=NAMES)
    def order_plain(self, name):
        return self.order_balancer(name, None)

    @rule(target=balancers, name=NAMES, certificate=certificates)
    def order_with_certificate(self, name, certificate):
        return self.order_balancer(name, certificate)

    def order_balancer(self, name, certificate):
        rules = [HTTP] if certificate is None else [{**HTTPS, "certificate_id": certificate}]
        order = {
            "name": name,
            "region": "nyc3",
            "droplet_ids": [self.droplet],
            "forwarding_rules": rules,
            "disable_lets_encrypt_dns_records": True,
        }
        twin = name in {one["name"] for one in self.balancers.values()}
        fits = len(self.balancers) < LIMIT
        right = certificate is None or self.verified(certificate)
        expect = 202 if fits and right and not twin else 422
        answer = self.call("POST", "/v2/load_balancers", order, expect=expect)
        if expect != 202:
            return multiple()
        made = answer["load_balancer"]["id"]
        self.balancers[made] = {
            "name": name,
            "certificate": certificate,
            "active": self.clock.now() + SECONDS["load_balancer"],
            "busy": 0.0,
        }
        return made

    @rule(balancer=balancers, redirect=st.booleans())
    def change_balancer(self, balancer, redirect):
        known = self.balancers.get(balancer)
        expect = 404
        if known is not None:
            free = self.clock.now() >= max(known["active"], known["busy"])
            expect = 200 if free else 403
        order = {
            "name": known["name"] if known else "gone",
            "region": "nyc3",
            "droplet_ids": [self.droplet],
            "forwarding_rules": [HTTP],
            "redirect_http_to_https": redirect,
        }
        self.call("PUT", f"/v2/load_balancers/{balancer}", order, expect=expect)
        if expect == 200:
            known["certificate"] = None
            known["busy"] = self.clock.now() + SECONDS["load_balancer_change"]

    @rule(balancer=balancers)
    def delete_balancer(self, balancer):
        known = self.balancers.pop(balancer, None)
        expect = 404 if known is None else 204
        self.call("DELETE", f"/v2/load_balancers/{balancer}", expect=expect)
        if known is not None and known["certificate"] is not None:
            self.released[known["certificate"]] = self.clock.now() + SECONDS["certificate_release"]

    @rule(target=images, name=NAMES)
    def snapshot(self, name):
        path = f"/v2/droplets/{self.droplet}"
        expect = 201 if self.clock.now() >= self.busy_until else 422
        order = {"type": "snapshot", "name": name}
        self.call("POST", f"{path}/actions", order, expect=expect)
        if expect != 201:
            return multiple()
        self.busy_until = self.clock.now() + SECONDS["snapshot"]
        self.clock.advance(SECONDS["snapshot"])
        snapshots = self.call("GET", f"{path}/snapshots?per_page=200", expect=200)["snapshots"]
        [made] = {one["id"] for one in snapshots} - set(self.images)
        self.images[made] = {"name": name, "regions": {"nyc3"}, "moving": None}
        return made

    @rule(image=images, region=st.sampled_from(REGIONS))
    def transfer(self, image, region):
        known = self.images.get(image)
        expect = 404
        if known is not None:
            taken = region in known["regions"] or known["moving"] is not None
            expect = 422 if taken else 201
        order = {"type": "transfer", "region": region}
        self.call("POST", f"/v2/images/{image}/actions", order, expect=expect)
        if expect == 201:
            known["moving"] = (region, self.clock.now() + SECONDS["transfer"])

    @rule(image=images)
    def delete_image(self, image):
        known = self.images.pop(image, None)
        self.call("DELETE", f"/v2/images/{image}", expect=404 if known is None else 204)

    @rule(seconds=st.sampled_from([0.0, 5.0, 12.0, 15.0, 90.0, 1000.0]))
    def let_time_pass(self, seconds):
        self.clock.advance(seconds)

    @invariant()
    def load_balancers_are_as_they_were_made(self):
        answer = self.call("GET", "/v2/load_balancers?per_page=200", expect=200)
        listed = {one["id"]: one for one in answer["load_balancers"]}
        assert set(listed) == set(self.balancers)
        for identifier, known in self.balancers.items():
            shown = listed[identifier]
            active = self.clock.now() >= known["active"]
            assert shown["status"] == ("active" if active else "new")
            assert bool(shown["ip"]) is active
            assert shown["forwarding_rules"][0]["certificate_id"] == (known["certificate"] or "")
        addresses = [one["ip"] for one in listed.values() if one["ip"]]
        assert len(addresses) == len(set(addresses))

    @invariant()
    def certificates_are_as_they_were_made(self):
        answer = self.call("GET", "/v2/certificates?per_page=200", expect=200)
        listed = {one["id"]: one for one in answer["certificates"]}
        assert set(listed) == set(self.certificates)
        for identifier in self.certificates:
            state = "verified" if self.verified(identifier) else "pending"
            assert listed[identifier]["state"] == state

    @invariant()
    def images_are_where_they_were_taken(self):
        for known in self.images.values():
            if known["moving"] is not None and self.clock.now() >= known["moving"][1]:
                known["regions"].add(known["moving"][0])
                known["moving"] = None
        answer = self.call("GET", "/v2/images?private=true&per_page=200", expect=200)
        listed = {one["id"]: set(one["regions"]) for one in answer["images"]}
        assert listed == {number: one["regions"] for number, one in self.images.items()}


RandomHttps.TestCase.settings = settings(
    max_examples=12, stateful_step_count=30, deadline=None, derandomize=True
)
TestRandomHttps = RandomHttps.TestCase
