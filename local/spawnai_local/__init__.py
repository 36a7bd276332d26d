"""The local cloud: a control plane, DigitalOcean and Claude on one machine, without an account."""
