"""What sessions cost, for other systems: FOCUS files and SQL databases.

It reads the cluster and never writes to it, and the operator never waits for it.
"""
