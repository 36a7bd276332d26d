"""`make bench`: the product measured on the local stack, against the goals it was built for.

- `lives`: twenty sessions at once, from manifest to tombstone.
- `crowd`: a thousand live sessions: at rest, through a restart, and a hundred of them expiring.
- `seeding`: how a thousand live sessions come to be without four thousand calls' time.
- `figures`, `report`: numbers, and how they are shown and written down.

The rest reads what the parts themselves say: the emulator's log of calls, the API server's audit
log, the operator's metrics, and /proc.
"""
