"""`make observe`: the product under a real Prometheus and Alertmanager."""
