"""Baked images: each a ledger of its own, followed from its builder to its end."""
