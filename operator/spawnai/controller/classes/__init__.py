"""Looks after SpawnClasses: their keys, their accounts, their Shared firewalls."""
