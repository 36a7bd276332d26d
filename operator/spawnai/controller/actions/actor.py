"""Carries out actions: which part does which, and within what time.

Each action finds out by itself whether it was done already, and leaves what it learnt in the
session's memory.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from spawnai.digitalocean.errors import Ambiguous
from spawnai.lifecycle import actions as do

from .custody import Custody
from .deploy import Deploy
from .destroy import Destroy
from .generate import Generate
from .provision import Provision
from .work import Work

Handler = Callable[[Work, Any], Awaitable[timedelta | None]]

NEEDS_CLASS = (
    do.CreateDroplet,
    do.FindDroplet,
    do.AwaitDroplet,
    do.CreateFirewall,
    do.FindFirewall,
    do.CheckFirewall,
    do.CreateDomainRecord,
    do.FindDomainRecord,
    do.GenerateApp,
    do.DeleteResource,
    do.VerifyGone,
)
"""What reaches the cloud or Claude, and so has to wait for a class that can be used."""

TURN_SECONDS = 6 * 3600.0
"""The limit of what may have to wait for its turn among DigitalOcean's 5,000 calls an hour: ten
thousand sessions that end at once take four hours. A single call has a shorter limit of its own."""

DOING: Mapping[type[do.Action], str] = {
    do.AddFinalizer: "putting the finalizer on the session",
    do.RemoveFinalizer: "taking the finalizer off the session",
    do.CreateRecord: "making the session's ledger",
    do.DeleteRecord: "dropping the session's ledger",
    do.ConfirmSessionGone: "asking whether the session is gone",
    do.ConfirmNoRecord: "asking whether the session has a ledger",
    do.CreateDroplet: "making the droplet",
    do.FindDroplet: "looking for the droplet",
    do.AwaitDroplet: "waiting for the droplet to boot",
    do.CreateFirewall: "making the session's firewall",
    do.FindFirewall: "looking for the session's firewall",
    do.CheckFirewall: "looking whether the firewall is in force",
    do.CreateDomainRecord: "making the session's name in DNS",
    do.FindDomainRecord: "looking for the session's name in DNS",
    do.GenerateApp: "having Claude write the app",
    do.DeployApp: "giving the app to the droplet",
    do.SetExpiry: "telling the droplet when its session ends",
    do.CheckApp: "asking the droplet how the app is",
    do.TakeLog: "taking the last lines of the app's log",
    do.DeleteResource: "deleting what the session used",
    do.VerifyGone: "looking whether what was deleted is gone",
}
"""What an action does, in words that go on after "while"."""


class Actor:
    """Carries out the actions of all sessions; made once, knows no session itself."""

    def __init__(
        self,
        *,
        custody: Custody,
        provision: Provision,
        generate: Generate,
        deploy: Deploy,
        destroy: Destroy,
    ) -> None:
        self._handlers: Mapping[type[do.Action], tuple[float, Handler]] = {
            do.AddFinalizer: (30, custody.add_finalizer),
            do.RemoveFinalizer: (30, custody.remove_finalizer),
            do.CreateRecord: (30, custody.create_record),
            do.DeleteRecord: (30, custody.delete_record),
            do.ConfirmSessionGone: (30, custody.confirm_session_gone),
            do.ConfirmNoRecord: (30, custody.confirm_no_record),
            do.CreateDroplet: (TURN_SECONDS, provision.create_droplet),
            do.FindDroplet: (60, provision.find_droplet),
            do.AwaitDroplet: (60, provision.await_droplet),
            do.CreateFirewall: (TURN_SECONDS, provision.create_firewall),
            do.FindFirewall: (60, provision.find_firewall),
            do.CheckFirewall: (60, provision.check_firewall),
            do.CreateDomainRecord: (TURN_SECONDS, provision.create_domain_record),
            do.FindDomainRecord: (60, provision.find_domain_record),
            do.GenerateApp: (600, generate.generate_app),
            do.DeployApp: (600, deploy.deploy_app),
            do.SetExpiry: (15, deploy.set_expiry),
            do.CheckApp: (30, deploy.check_app),
            do.TakeLog: (5, deploy.take_log),
            do.DeleteResource: (TURN_SECONDS, destroy.delete_resource),
            do.VerifyGone: (TURN_SECONDS, destroy.verify_gone),
        }

    async def carry_out(self, work: Work, action: do.Action) -> timedelta | None:
        """Do it. Returns when to do it again at the earliest, if that matters; raises on failure.

        A creation that ran out of time after it had its turn is ambiguous: it may have happened.
        """
        limit, handler = self._handlers[type(action)]
        try:
            async with asyncio.timeout(limit):
                return await handler(work, action)
        except TimeoutError as error:
            effort = work.memory.efforts[action.key]
            if isinstance(action, do.CREATIONS) and not effort.waits_for_turn:
                raise Ambiguous(
                    f"no answer within {limit:.0f} s while {DOING[type(action)]}; it may have been "
                    "carried out all the same, so the operator looks before it tries again"
                ) from error
            raise
