"""The agent of one droplet: takes an app from the operator, runs it, and ends the droplet in time.

These files ship to the droplet as one archive, /opt/spawnai/agent.pyz (cloud_config.py packs it).
Standard library only, Python 3.11 or newer: it runs on the droplet's own Python, and nothing in
the operator imports it. Everything it reads and writes lies in the folder of the archive, so a
machine may have its root anywhere:

    session.json             what the operator decided for this droplet; never changed here
    agent.crt, agent.key     the certificate that the operator expects
    door.crt, door.key       the certificate that a gateway expects
    machine.env              optional: where this machine differs from a droplet (see Machine)
    packages                 "ok", or why the packages could not be installed
    bundle.json, state.json  the app that was taken, and how far it has come
    web.json                 the public certificate with its key, and the droplet's own host names
    app/, scratch/           the running app's folder, and its HOME and temporary files
    site/, pages/, health/   what Caddy serves of the app, and what it says while there is none
    challenges/              answers to an ACME server's http-01 challenges
    web/                     Caddy's own folder, with the socket that it is configured through

The doors, all of them:
    :8443 HTTPS   the operator's (door.py). Opened only after the token's hash has been read;
                  whoever cannot show the token gets 401 and nothing else.
    :80, :443     everyone's. Caddy's, under a user of its own that can read none of our secrets
                  (web.py): the app, /health, and answers to ACME challenges.
The app listens on its own port, which the firewall keeps closed to the world.
"""
