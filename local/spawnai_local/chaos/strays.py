"""A droplet with all marks of a session that is over, which nobody ordered: it is the reaper's."""

from spawnai.api.names import session_droplet_name, session_firewall_name, session_tag
from spawnai_local.classes import LOCAL_DOMAIN
from spawnai_local.digitalocean.canaries import Canaries
from spawnai_local.digitalocean.cloud import Cloud

MINIMUM_AGE_SECONDS = 61 * 60.0
"""The reaper's minimum age in a campaign: longer than one takes, so that what a plan leaves over is
seen, and not cleared away."""

_AGE_SECONDS = MINIMUM_AGE_SECONDS + 60.0


def place(cloud: Cloud, session_uid: str, host_label: str) -> int:
    """Put it into the account, old enough, with a name and a firewall of its own; returns its id.

    It wears the tags of the session's own droplet.
    """
    tag = session_tag(session_uid)
    tags = next(line.tags for line in cloud.bill.lines() if tag in line.tags)
    order = {"name": session_droplet_name(session_uid), "tags": list(tags)}
    canaries = Canaries(cloud)
    number = int(canaries.place({"canary": False, "droplets": [order]})["droplets"][0])
    droplet = cloud.droplets.get(number)
    line = next(one for one in cloud.bill.lines() if one.droplet_id == number)
    droplet.created_at -= _AGE_SECONDS
    droplet.text = None
    line.created_at, line.canary = droplet.created_at, False
    name = {"type": "A", "name": host_label, "data": droplet.public_address}
    rule = {"protocol": "tcp", "ports": "80", "sources": {"addresses": ["0.0.0.0/0"]}}
    firewall = {
        "name": session_firewall_name(session_uid),
        "droplet_ids": [number],
        "inbound_rules": [rule],
    }
    canaries.place(
        {
            "canary": False,
            "records": [{"domain": LOCAL_DOMAIN, **name}],
            "firewalls": [firewall],
        }
    )
    return number
