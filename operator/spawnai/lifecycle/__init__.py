"""The life of a session as pure decisions: no network, no clock, no Kubernetes."""
