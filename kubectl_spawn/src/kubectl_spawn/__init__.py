"""`kubectl spawn`: SpawnAI from the shell. It needs kubectl and the caller's own rights."""

__version__ = "0.1.0"
