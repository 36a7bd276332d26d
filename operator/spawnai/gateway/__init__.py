"""The gateway of exposure mode Wildcard: one certificate and one door for all apps of a domain.

Caddy serves HTTPS with a static configuration (`Caddyfile`). It finds the droplet of a host by DNS
on loopback; the answers come from the process beside it, `spawnai gateway`, which watches the
SpawnSessions. A new session costs no reload, and any number of replicas may run.

    client ── TLS, *.domain ──► Caddy ── TLS, pinned to the droplet's name ──► droplet
                                  │ who is retro-board-7f3a.domain?
                                  ▼
                            spawnai gateway ◄── watch ── API server
"""
