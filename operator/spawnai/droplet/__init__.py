"""The droplet: what it boots with, the agent that runs on it, and how the operator speaks to that.

- `agent` is the program that ships to the droplet; nothing in the operator imports it.
- `cloud_config` renders the user_data that carries it.
- `credentials` derives what both ends need to trust each other.
- `client` speaks to the agent.
"""
