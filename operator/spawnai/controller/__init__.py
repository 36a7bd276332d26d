"""The life of a session against Kubernetes: watch, queue, observe, plan, act, report."""
