"""The SQL database of sessions and their cost: its address and its tables.

`spawnai export sql` fills it, and the console's history reads it.
"""
