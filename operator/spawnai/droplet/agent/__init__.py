"""The agent of one droplet, and its dead man's switch.

The agent takes an app from the operator and runs it (main.py); the switch ends the droplet in time
(switch.py). They ship as one archive, /opt/spawnai/agent.pyz (packing.py), and run as two units.
Standard library only, Python 3.11 or newer: it runs on the droplet's own Python, and nothing in
the operator imports it. Everything it reads and writes lies in the folder of the archive, so a
machine may have its root anywhere:

    session.json             what the operator decided for this droplet, with the certificates that
                             the operator and gateways expect and the one that the operator shows;
                             replaced as a whole when a session takes over a spare
    machine.env              optional: where this machine differs from a droplet (see Machine)
    packages                 "ok", or why the packages could not be installed
    expiry.json, switch.json the operator's last word on the end, and what the switch promised
    state.json               which revision of the app runs, and how far another one is
    revisions/N/             a revision: its bundle, its files, its HOME, what Caddy serves of it
    data/                    what the app keeps from one revision to the next
    app.env, app.env.json    what the app's owner gives to its process
    web.json                 the public certificate with its key, and the droplet's own host names
    site, routes/            which revision Caddy serves: a link, and files that stand for a choice
    pages/, health/          what Caddy says while there is no app, and how the app is
    trials/                  what is shown to who names its word, before everyone has it
    challenges/              answers to an ACME server's http-01 challenges
    web/                     Caddy's own folder, with the socket that it is configured through

The doors, all of them:
    :8443 HTTPS   the operator's (door.py): both sides show a certificate of this session, then the
                  operator its token. Opened only after all of these have been read.
    :80, :443     everyone's. Caddy's, under a user of its own that can read none of our secrets
                  (web.py): the app, /health, and answers to ACME challenges.
The app listens on a port of its own, which the firewall keeps closed to the world.
"""
