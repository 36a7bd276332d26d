"""Which session a call was made for, told from what it names: tags, ids, names and addresses."""

import re
from typing import Any

from spawnai_local.digitalocean import errors
from spawnai_local.digitalocean.exchange import Answer, Request
from spawnai_local.digitalocean.router import Route
from spawnai_local.digitalocean.state.droplets import Droplets, session_of

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
RECORDS = "POST /v2/domains/{domain_name}/records"
IDENTIFIED = {
    "POST /v2/firewalls": "firewall",
    "POST /v2/load_balancers": "load_balancer",
    "POST /v2/certificates": "certificate",
}
"""Creations of what has an id of its own, and where the answer shows it."""
PARAMETERS = ("firewall_id", "domain_record_id", "lb_id", "certificate_id")


class Attribution:
    """Remembers which ids belong to which session, also after the objects are gone."""

    def __init__(self, droplets: Droplets) -> None:
        self._droplets = droplets
        self._of_object: dict[str, str] = {}
        """Sessions by the id of what has one, and by the full name of a record."""

    def session(self, route: Route, request: Request) -> str | None:
        """Return the session that a call is for; None if it is for none, or for all."""
        parameters, query = request.parameters, request.query
        if "droplet_id" in parameters:
            text = parameters["droplet_id"]
            return self._droplets.sessions.get(int(text)) if text.isdigit() else None
        for parameter in PARAMETERS:
            if parameter in parameters:
                return self._of_object.get(parameters[parameter])
        if "tag_name" in query or "tag_id" in parameters:
            return session_of([query.get("tag_name") or parameters["tag_id"]])
        if "name" in query:
            return self._of_object.get(query["name"].lower()) or _in_name(query["name"])
        if route.method == "POST":
            return self._of_order(request)
        return None

    def learn(self, route: Route, request: Request, answer: Answer, session: str) -> None:
        """Note that what a call made belongs to its session."""
        if answer.status < errors.LOWEST_STATUS and answer.body is not None:
            if (shown := IDENTIFIED.get(route.endpoint)) is not None:
                self._of_object[answer.document()[shown]["id"]] = session
            elif route.endpoint == RECORDS:
                record = answer.document()["domain_record"]
                self._of_object[str(record["id"])] = session
                domain = request.parameters["domain_name"]
                self._of_object[f"{record['name']}.{domain}".lower()] = session

    def _of_order(self, request: Request) -> str | None:
        try:
            order: dict[str, Any] = request.document()
        except errors.ApiError:
            return None
        tagged = session_of(order.get("tags"))
        if tagged is not None:
            return tagged
        named = _in_name(order.get("name"))
        if named is not None:
            return named
        droplet_ids = order.get("droplet_ids")
        if isinstance(droplet_ids, list):
            for one in droplet_ids:
                if isinstance(one, int) and one in self._droplets.sessions:
                    return self._droplets.sessions[one]
        return self._droplets.session_at(order.get("data"))


def _in_name(name: object) -> str | None:
    if isinstance(name, str):
        if (tagged := session_of([name])) is not None:
            return tagged
        # That of its cluster comes first, where a name has both.
        found = UUID.findall(name.lower())
        if found:
            return str(found[-1])
    return None
