"""Orders for apps that misbehave on their droplets, as the Claude simulator writes them."""

from tests.e2e.sessions.world import Manifest, session

DEAD_AT_START = {
    "silent": ("app-never-answers", "AppNeverAnswered", "listening, and never answering"),
    "dies": ("app-dies-at-once", "AppCrashed", "the configuration makes no sense"),
}
HARMFUL = {
    "memory": ("app-fills-memory", "OutOfMemory", "filling the memory"),
    "disk": ("app-fills-disk", "DiskFull", "filling the disk"),
    "forks": ("app-forks-without-end", "TooManyProcesses", "starting processes without end"),
}
"""By name: the fault, the reason, and a line that the app wrote before its end."""

HOARDS = "hoards"
"""An API that answers, and then fills its memory as often as it is started again."""


def misbehaving_apps() -> list[Manifest]:
    """All of them, a script that merely fails, and a neighbour that does nothing wrong."""
    return [
        *(
            session(name, f"An API about ferns simulate:{fault}", "api")
            for name, (fault, _, _) in DEAD_AT_START.items()
        ),
        *(
            session(name, f"A script about ferns simulate:{fault}", "script", tier="light")
            for name, (fault, _, _) in HARMFUL.items()
        ),
        session(HOARDS, "An API about ferns simulate:app-fills-memory", "api", tier="light"),
        session("fails", "A script about ferns simulate:app-dies-at-once", "script"),
        session("neighbour", "A page about the neighbours"),
    ]
