"""What people and machines see of the operator: metrics, events, logs and its small HTTP server."""
