"""SpawnAI: a Kubernetes operator for ephemeral apps, one DigitalOcean droplet each."""
