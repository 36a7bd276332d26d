"""The operator's second port: what only the operator knows of a session, for those who may see it.

Logs, source, receipts, offers, and the app as it is written. The console passes its callers' tokens
on; who they are and what they may do is asked of the API server for each of them.
"""
