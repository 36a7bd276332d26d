"""Load balancers: ordered, active after minutes, busy after each change, deleted by id.

A load balancer routes by port alone, to droplets of its own region. DigitalOcean refuses changes
while one is new or busy (`Busy`); creations fail at times (`errored`). Names are unique in an
account, so a name with the owner's UID is a mark of it.
"""

from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from spawnai.digitalocean.answers import member, read
from spawnai.digitalocean.budget import Priority, Slot
from spawnai.digitalocean.client import ApiClient, Call
from spawnai.digitalocean.errors import NotFound
from spawnai.digitalocean.listing import PER_PAGE, has_no_name_of_ours, list_all, read_page
from spawnai.digitalocean.models import ForwardingRule, LoadBalancer, LoadBalancerOrder, Page

_LOAD_BALANCER = TypeAdapter(LoadBalancer)
# A fresh droplet gets traffic after two good answers: DigitalOcean's own 10 s x 5 keep it waiting
# for 50 s.
_HEALTH_CHECK = {
    "check_interval_seconds": 3,
    "response_timeout_seconds": 3,
    "healthy_threshold": 2,
    "unhealthy_threshold": 3,
}


class LoadBalancers:
    """The calls below /v2/load_balancers. Each may raise any DigitalOceanError."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def create(self, order: LoadBalancerOrder, *, priority: Priority | Slot) -> LoadBalancer:
        """Order a load balancer. It is new and has no address for a minute or two.

        Raises:
            AlreadyExists: names are unique, and one of this name is there.
            Ambiguous: it may have been made: list() tells.
            OverQuota: the account may not have another one.
        """
        return await self._api.call(
            Call("POST", "/v2/load_balancers", body=_body(order)), _read, priority=priority
        )

    async def get(self, identifier: str, *, priority: Priority) -> LoadBalancer | None:
        """The load balancer, or None when DigitalOcean itself says that there is none."""
        try:
            return await self._api.call(
                Call("GET", "/v2/load_balancers/{id}", {"id": identifier}),
                _read,
                priority=priority,
            )
        except NotFound:
            return None

    async def list(self, *, priority: Priority) -> tuple[LoadBalancer, ...]:
        """All load balancers of the account (the API has no filter), complete or not at all."""

        async def fetch(page: int) -> Page[LoadBalancer]:
            return await self._api.call(
                Call("GET", "/v2/load_balancers", query={"page": page, "per_page": PER_PAGE}),
                lambda document, _sent_at: read_page(
                    document, "load_balancers", _LOAD_BALANCER, is_foreign=has_no_name_of_ours
                ),
                priority=priority,
            )

        return await list_all(fetch, identity=lambda one: one.id)

    async def update(
        self, identifier: str, order: LoadBalancerOrder, *, priority: Priority
    ) -> LoadBalancer:
        """Make the load balancer exactly what is ordered; what the order does not name goes.

        The certificate's id is the one of now: an id from before a renewal would undo it.

        Raises:
            Busy: it is new, or an earlier change is still being carried out.
            NotFound: there is no such load balancer.
        """
        return await self._api.call(
            Call("PUT", "/v2/load_balancers/{id}", {"id": identifier}, body=_body(order)),
            _read,
            priority=priority,
        )

    async def delete(self, identifier: str, *, priority: Priority) -> bool:
        """Delete the load balancer; its address is lost. True: done. False: it was gone already.

        Delete the names that lead to it first.
        """
        try:
            await self._api.call(
                Call("DELETE", "/v2/load_balancers/{id}", {"id": identifier}),
                lambda _document, _sent_at: None,
                priority=priority,
            )
        except NotFound:
            return False
        return True


def _body(order: LoadBalancerOrder) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": order.name,
        "region": order.region,
        "size_unit": order.nodes,
        "forwarding_rules": [_rule(rule) for rule in order.rules],
        "health_check": {
            "protocol": "http",
            "port": order.health_port,
            "path": order.health_path,
            **_HEALTH_CHECK,
        },
        "redirect_http_to_https": order.redirect_http_to_https,
        "http_idle_timeout_seconds": order.idle_seconds,
        # Else DigitalOcean writes an A record at the apex of the certificate's domain, which
        # takes down whatever lives there.
        "disable_lets_encrypt_dns_records": True,
    }
    if order.tag:
        body["tag"] = order.tag
    else:
        body["droplet_ids"] = list(order.droplet_ids)
    return body


def _rule(rule: ForwardingRule) -> dict[str, Any]:
    body: dict[str, Any] = {
        "entry_protocol": rule.entry_protocol,
        "entry_port": rule.entry_port,
        "target_protocol": rule.target_protocol,
        "target_port": rule.target_port,
    }
    if rule.certificate_id:
        body["certificate_id"] = rule.certificate_id
    return body


def _read(document: Any, _sent_at: datetime) -> LoadBalancer:
    return read(_LOAD_BALANCER, member(document, "load_balancer"), "load_balancer")
