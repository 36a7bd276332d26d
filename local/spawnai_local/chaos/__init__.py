"""`make chaos`: the real operator process, and everything that can go wrong at its every call.

1. `recording.py` lets sessions live without a fault and notes every call that the operator makes,
   to DigitalOcean, to Claude, to the droplets' agents and (writes) to the API server, in each
   situation: creating, ready, TTL changed, expiring, deleted, its class changed, its record's time
   over, a stray droplet of it reaped; and what it calls when the answer to its order was lost.
2. `plans.py` makes a plan of each call × fault × situation that exists.
3. `campaign.py` shares the plans out to labs. A lab (`lab.py`) is a stack with its operator; it
   carries out many plans at once, each with a session, a class and a DigitalOcean token of its
   own, so that every call is one plan's.
4. `judge.py` says what must be true of each, `report.py` prints it.

All calls pass a `Gate`; the proxies of `proxy.py` and the door of the shell droplets are its sides.
"""
