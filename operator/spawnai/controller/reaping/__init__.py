"""Deletes what nobody explains: by itself, and by hand with `spawnai reap`."""
