"""SpawnAI: a Kubernetes operator for ephemeral apps, one DigitalOcean droplet each."""

__version__ = "0.1.0"
"""Written by `make generate` from pyproject.toml."""
