"""DigitalOcean's API v2 as the rest of the operator sees it: few calls, plain values, own errors.

Nothing here knows of Kubernetes or of a session's life. `client.py` is the only way out.
"""
