"""The emulator's own control API, below `/_local/`: faults, delays, limits, calls, bill, state.

It needs no token: it is for whoever runs the emulator, and is only offered where that runs.
"""

import json
from collections.abc import Callable

from spawnai_local.digitalocean import errors
from spawnai_local.digitalocean.api import Api
from spawnai_local.digitalocean.canaries import Canaries
from spawnai_local.digitalocean.clock import timestamp
from spawnai_local.digitalocean.cloud import Cloud
from spawnai_local.digitalocean.exchange import Answer, Handler, Request, answer, nothing
from spawnai_local.digitalocean.faults import Fault
from spawnai_local.digitalocean.router import Router
from spawnai_local.digitalocean.scopes import read_scopes
from spawnai_local.digitalocean.state.catalogue import REGIONS

PREFIX = "/_local/"
MOST_LOG_LINES = 100_000
LONGEST_WAIT_SECONDS = 60.0


class Control:
    """Answers below `/_local/`."""

    def __init__(self, cloud: Cloud, api: Api, dns_port: Callable[[], int | None]) -> None:
        self._cloud = cloud
        self._api = api
        self._dns_port = dns_port
        self._canaries = Canaries(cloud)
        self._router = Router()
        self._router.add(self.table())

    def table(self) -> dict[str, Handler]:
        """Return the handlers by method and path template."""
        return {
            "GET /_local/faults": self.faults,
            "POST /_local/faults": self.add_faults,
            "DELETE /_local/faults": self.clear_faults,
            "GET /_local/faults/{fault_id}": self.fault,
            "DELETE /_local/faults/{fault_id}": self.remove_fault,
            "GET /_local/delays": self.delays,
            "PUT /_local/delays": self.change_delays,
            "GET /_local/limits": self.limits,
            "PUT /_local/limits": self.change_limits,
            "POST /_local/limits/spend": self.spend,
            "POST /_local/limits/reset": self.reset_limits,
            "GET /_local/capacity": self.capacity,
            "PUT /_local/capacity": self.change_capacity,
            "PUT /_local/account": self.change_account,
            "PUT /_local/tokens": self.change_token,
            "GET /_local/calls": self.calls,
            "DELETE /_local/calls": self.reset_calls,
            "GET /_local/calls/log": self.call_log,
            "GET /_local/bill": self.bill,
            "GET /_local/state": self.state,
            "GET /_local/history": self.history,
            "GET /_local/authority": self.authority,
            "POST /_local/certificates/{certificate_id}/renewals": self.renew,
            "POST /_local/seed": self.seed,
            "GET /_local/canaries": self.canaries,
            "GET /_local/endpoints": self.endpoints,
        }

    async def answer(self, request: Request) -> Answer:
        """Answer a request below `/_local/`, waiting first where it asks to (`?wait=seconds`)."""
        self._cloud.timeline.settle()
        route, request.parameters = self._router.find(request.method, request.path)
        if route is None:
            return answer(404, {"error": f"no such path: {request.method} {request.path}"})
        try:
            if "wait" in request.query and route.endpoint == "GET /_local/faults/{fault_id}":
                seconds = min(LONGEST_WAIT_SECONDS, float(request.query["wait"]))
                await self._api.faults.wait(self._fault(request), seconds)
            return route.handler(request)
        except errors.ApiError as error:
            return answer(error.status, {"error": error.message})
        except (ValueError, TypeError) as error:
            return answer(400, {"error": str(error)})

    def faults(self, request: Request) -> Answer:
        """List all faults, those that are spent too."""
        del request
        return answer(200, {"faults": [fault.document() for fault in self._api.faults.all()]})

    def add_faults(self, request: Request) -> Answer:
        """Add faults: lines of text, a JSON object, or a list of lines and objects."""
        text = request.body.decode().strip()
        if text.startswith(("{", "[")):
            document = json.loads(text)
            wanted = document if isinstance(document, list) else [document]
            faults = [Fault.parse(one) if isinstance(one, str) else Fault.of(one) for one in wanted]
        else:
            faults = [Fault.parse(line) for line in text.splitlines() if line.strip()]
        added = self._api.faults.add(faults)
        return answer(201, {"faults": [fault.document() for fault in added]})

    def fault(self, request: Request) -> Answer:
        """Show one fault."""
        return answer(200, self._fault(request).document())

    def _fault(self, request: Request) -> Fault:
        fault = self._api.faults.get(request.number("fault_id"))
        if fault is None:
            raise errors.not_found()
        return fault

    def clear_faults(self, request: Request) -> Answer:
        """Remove all faults."""
        del request
        self._api.faults.clear()
        return nothing()

    def remove_fault(self, request: Request) -> Answer:
        """Remove one fault."""
        if not self._api.faults.remove(request.number("fault_id")):
            raise errors.not_found()
        return nothing()

    def delays(self, request: Request) -> Answer:
        """Show all delays, in seconds."""
        del request
        return answer(200, self._cloud.world.delays.document())

    def change_delays(self, request: Request) -> Answer:
        """Change the delays that the body names; what has begun keeps its old one."""
        self._cloud.world.delays = self._cloud.world.delays.changed(request.document())
        return answer(200, self._cloud.world.delays.document())

    def limits(self, request: Request) -> Answer:
        """Show the limits, and the requests that count against them now."""
        del request
        return self._show_limits()

    def change_limits(self, request: Request) -> Answer:
        """Change the limits that the body names."""
        self._cloud.world.limits = self._cloud.world.limits.changed(request.document())
        return self._show_limits()

    def spend(self, request: Request) -> Answer:
        """Count requests as if another program had made them with a token."""
        order = request.document()
        token, count = order.get("token"), order.get("requests")
        if not isinstance(token, str) or not isinstance(count, int) or count < 0:
            raise ValueError('write {"token": "…", "requests": 100}')
        self._api.rate_limits.spend(token, count)
        return self._show_limits()

    def reset_limits(self, request: Request) -> Answer:
        """Forget the requests counted so far."""
        del request
        self._api.rate_limits.reset()
        return self._show_limits()

    def _show_limits(self) -> Answer:
        limits = self._cloud.world.limits.document()
        return answer(200, {**limits, "used": self._api.rate_limits.document()})

    def capacity(self, request: Request) -> Answer:
        """Show what is sold out."""
        del request
        catalogue = self._cloud.catalogue
        return answer(
            200,
            {
                "closed_regions": sorted(catalogue.closed_regions),
                "sold_out": [
                    {"region": region, "size": size} for region, size in sorted(catalogue.sold_out)
                ],
                "restricted_sizes": sorted(catalogue.restricted_sizes),
            },
        )

    def change_capacity(self, request: Request) -> Answer:
        """Set which regions are closed, and which sizes are sold out where or are restricted."""
        order = request.document()
        closed = set(order.get("closed_regions", ()))
        sold_out = {(one["region"], one["size"]) for one in order.get("sold_out", ())}
        regions = closed | {region for region, _ in sold_out}
        restricted = set(order.get("restricted_sizes", ()))
        sizes = {size for _, size in sold_out} | restricted
        if unknown := sorted((regions - set(REGIONS)) | (sizes - set(self._cloud.catalogue.sizes))):
            raise ValueError(f"there is no region or size called {', '.join(map(str, unknown))}")
        self._cloud.catalogue.closed_regions = closed
        self._cloud.catalogue.sold_out = sold_out
        self._cloud.catalogue.restricted_sizes = restricted
        return self.capacity(request)

    def change_account(self, request: Request) -> Answer:
        """Set the account's status and status_message, or its uuid, as if it were another one."""
        order = request.document()
        account = self._cloud.account
        if order.get("status", account.status) not in ("active", "warning", "locked"):
            raise ValueError("status is active, warning or locked")
        account.status = order.get("status", account.status)
        account.uuid = str(order.get("uuid", account.uuid))
        account.status_message = str(order.get("status_message", account.status_message))
        return answer(200, account.document())

    def change_token(self, request: Request) -> Answer:
        """Make a token valid with `scopes`, or with full access; `valid: false` revokes it."""
        order = request.document()
        token = order.get("token")
        if not isinstance(token, str) or not token:
            raise ValueError('write {"token": "…", "scopes": ["droplet:read", …] or null}')
        scopes = read_scopes(order.get("scopes"))
        if order.get("valid", True):
            self._api.tokens[token] = scopes
        else:
            self._api.tokens.pop(token, None)
        return nothing()

    def calls(self, request: Request) -> Answer:
        """Show the counters; without those of each session when `sessions=false`."""
        sessions = request.query.get("sessions") != "false"
        return answer(200, self._api.calls.document(sessions=sessions))

    def reset_calls(self, request: Request) -> Answer:
        """Set the counters to zero."""
        del request
        self._api.calls.reset()
        return nothing()

    def call_log(self, request: Request) -> Answer:
        """Show calls one by one: those with a number above `after`, of a `session` if given."""
        query = request.query
        calls = self._api.calls.log(int(query.get("after", "0")))
        if "session" in query:
            calls = [call for call in calls if call.session == query["session"]]
        limit = min(MOST_LOG_LINES, int(query.get("limit", MOST_LOG_LINES)))
        return answer(200, {"calls": [call.document() for call in calls[:limit]]})

    def bill(self, request: Request) -> Answer:
        """Show what everything cost, and the sums with and without canaries."""
        session = request.query.get("session")
        now = self._cloud.world.now()
        lines = [
            line
            for line in self._cloud.bill.lines()
            if session is None or f"session:{session}" in line.tags
        ]
        others = [] if session is not None else self._cloud.bill.others()
        amounts = [(line.amount(now), line.canary) for line in lines]
        amounts += [(line.amount(now), line.canary) for line in others]
        total = sum(amount for amount, _ in amounts)
        ours = sum(amount for amount, canary in amounts if not canary)
        return answer(
            200,
            {
                "at": now,
                "currency": "USD",
                "dollars": str(total),
                "dollars_without_canaries": str(ours),
                "droplets": [line.document(now) for line in lines],
                "others": [line.document(now) for line in others],
            },
        )

    def state(self, request: Request) -> Answer:
        """Show everything that the account holds."""
        del request
        cloud = self._cloud
        return answer(
            200,
            {
                "at": cloud.world.now(),
                "time": timestamp(cloud.world.now()),
                "dns_port": self._dns_port(),
                "droplets": [droplet.summary() for droplet in cloud.droplets.all()],
                "firewalls": [
                    {**one.document(), "canary": one.canary} for one in cloud.firewalls.all()
                ],
                "domains": [
                    {
                        "name": domain.name,
                        "canary": domain.canary,
                        "records": [record.document() for record in domain.records.values()],
                    }
                    for domain in cloud.domains.all()
                ],
                "load_balancers": [
                    {**cloud.load_balancers.document(one), "canary": one.canary}
                    for one in cloud.load_balancers.all()
                ],
                "certificates": [
                    {**one.document(), "canary": one.canary} for one in cloud.certificates.all()
                ],
                "images": [one.document() for one in cloud.images.all()],
                "tags": {tag.name: len(tag.droplets) for tag in cloud.tags.all()},
            },
        )

    def history(self, request: Request) -> Answer:
        """Show every change of the account in order, those with a number above `after`."""
        after = int(request.query.get("after", "0"))
        changes = [one.document() for one in self._cloud.world.history if one.number > after]
        return answer(200, {"changes": changes})

    def authority(self, request: Request) -> Answer:
        """Show the certificate, as PEM, of what signs the certificates here."""
        del request
        return answer(200, {"certificate": self._cloud.certificates.authority.root.decode()})

    def renew(self, request: Request) -> Answer:
        """Renew a certificate now: its name stays and its id changes."""
        renewed = self._cloud.certificates.renew(request.parameters["certificate_id"])
        return answer(201, {"certificate": renewed.document()})

    def seed(self, request: Request) -> Answer:
        """Put droplets, firewalls, domains, records and tags into the account, as canaries."""
        return answer(201, self._canaries.place(request.document()))

    def canaries(self, request: Request) -> Answer:
        """Show whether every canary is as it was placed."""
        del request
        touched = self._canaries.touched()
        return answer(
            200, {"intact": not touched, "placed": self._canaries.count, "touched": touched}
        )

    def endpoints(self, request: Request) -> Answer:
        """List every endpoint that is emulated."""
        del request
        return answer(200, {"endpoints": self._api.endpoints})
