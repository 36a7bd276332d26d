"""Carries out actions: which part does which, and within what time.

Each action finds out by itself whether it was done already, and leaves what it learnt in the
session's memory.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from spawnai.digitalocean.errors import Ambiguous
from spawnai.generation.claude import DEFAULT_LIMITS, MAX_REPAIRS
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.kinds import KINDS

from .claim import Claim
from .custody import Custody
from .deploy import Deploy
from .generate import Generate
from .inspect import Inspect
from .replace import Replace
from .reserve import Reservations
from .resources import Resources
from .revise import Revise
from .work import Work

Handler = Callable[[Work, Any], Awaitable[timedelta | None]]

NEEDS_CLASS = (
    do.ResourceAction,
    do.ClaimSpare,
    do.GenerateApp,
    do.RecoverDroplet,
    do.ReplaceDroplet,
    do.TakeOver,
)
"""What reaches the cloud or Claude, and so has to wait for a class that can be used."""

TURN_SECONDS = 6 * 3600.0
"""The limit of what may have to wait for its turn, the longest among DigitalOcean's 5,000 calls an
hour: ten thousand sessions that end at once take four hours. A single call has a shorter limit of
its own."""

ORDER_SECONDS = DEFAULT_LIMITS.total_seconds + 60.0
"""The limit of having one app written and stored. Longer than the generator takes, which says why
it gives up: an order that is cut from outside is made, and paid for, again."""

DEPLOY_SECONDS = 600.0
"""The limit of having an app installed and started. What takes longer is followed again."""

_DOING: Mapping[type[do.Action], str] = {
    do.AddFinalizer: "putting the finalizer on the session",
    do.RemoveFinalizer: "taking the finalizer off the session",
    do.CreateRecord: "making the session's ledger",
    do.HoldRecord: "putting the finalizer on the session's ledger",
    do.ReleaseRecord: "taking the finalizer off the session's ledger",
    do.DeleteRecord: "dropping the session's ledger",
    do.DeleteSession: "deleting the ended session",
    do.ConfirmSessionGone: "asking whether the session is gone",
    do.ConfirmNoRecord: "asking whether the session has a ledger",
    do.GenerateApp: "having Claude write the app",
    do.DeployApp: "giving the app to the droplet",
    do.InspectApp: "opening the app's page in a browser",
    do.Reserve: "reserving money for the session",
    do.ReviseApp: "changing the app for a new prompt",
    do.SetExpiry: "telling the droplet when its session ends",
    do.CheckApp: "asking the droplet how the app is",
    do.TakeLog: "taking the last lines of the app's log",
    do.StopApp: "having the droplet stop the app",
    do.RestartApp: "having the droplet serve the app again",
    do.RecoverDroplet: "having the droplet started again",
    do.ReplaceDroplet: "giving the droplet up for another one",
    do.FindApp: "finding the stored app",
    do.ClaimSpare: "taking a spare droplet",
    do.TakeOver: "making a spare droplet the session's own",
    do.Create: "making the {noun}",
    do.Find: "looking for the {noun}",
    do.Await: "waiting for the {noun} to be ready",
    do.Delete: "deleting the {noun}",
    do.Verify: "looking whether the {noun} is gone",
}


def doing(action: do.Action) -> str:
    """What an action does, in words that go on after "while"."""
    kind = action.key.kind
    noun = KINDS[kind].noun if kind is not None else ""
    return _DOING[type(action)].format(noun=noun)


class Actor:
    """Carries out the actions of all sessions; made once, knows no session itself."""

    def __init__(
        self,
        *,
        custody: Custody,
        resources: Resources,
        generate: Generate,
        deploy: Deploy,
        inspect: Inspect,
        revise: Revise,
        reservations: Reservations,
        replace: Replace,
        claim: Claim,
    ) -> None:
        self._handlers: Mapping[type[do.Action], tuple[float, Handler]] = {
            do.AddFinalizer: (30, custody.add_finalizer),
            do.RemoveFinalizer: (30, custody.remove_finalizer),
            do.CreateRecord: (30, custody.create_record),
            do.HoldRecord: (TURN_SECONDS, custody.hold_record),
            do.ReleaseRecord: (TURN_SECONDS, custody.release_record),
            do.DeleteRecord: (30, custody.delete_record),
            do.DeleteSession: (30, custody.delete_session),
            do.ConfirmSessionGone: (30, custody.confirm_session_gone),
            do.ConfirmNoRecord: (30, custody.confirm_no_record),
            do.Create: (TURN_SECONDS, resources.create),
            do.Find: (60, resources.find),
            do.Await: (60, resources.wait),
            do.Delete: (TURN_SECONDS, resources.delete),
            do.Verify: (TURN_SECONDS, resources.verify),
            do.GenerateApp: (ORDER_SECONDS, generate.generate_app),
            # These may have the app repaired.
            do.DeployApp: (DEPLOY_SECONDS + ORDER_SECONDS, deploy.deploy_app),
            do.InspectApp: (DEPLOY_SECONDS + ORDER_SECONDS, inspect.inspect_app),
            do.ReviseApp: (
                (1 + MAX_REPAIRS) * (ORDER_SECONDS + DEPLOY_SECONDS),
                revise.revise_app,
            ),
            do.Reserve: (5, reservations.reserve),
            do.SetExpiry: (15, deploy.set_expiry),
            do.CheckApp: (30, deploy.check_app),
            do.TakeLog: (5, deploy.take_log),
            do.StopApp: (60, deploy.stop_app),
            do.RestartApp: (15, deploy.restart_app),
            do.RecoverDroplet: (90, replace.recover_droplet),
            do.ReplaceDroplet: (30, replace.replace_droplet),
            do.FindApp: (60, replace.find_app),
            do.ClaimSpare: (30, claim.claim_spare),
            do.TakeOver: (TURN_SECONDS, claim.take_over),
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
            if isinstance(action, do.Create) and not effort.waits_for_turn:
                raise Ambiguous(
                    f"no answer within {limit:.0f} s while {doing(action)}; it may have been "
                    "carried out all the same, so the operator looks before it tries again"
                ) from error
            raise
