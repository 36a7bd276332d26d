"""The app that a person named, or a sentence that helps."""

import difflib
from datetime import UTC, datetime

from kubectl_spawn.app import LIVING, App, State
from kubectl_spawn.cluster import SESSIONS, Cluster
from kubectl_spawn.durations import local_clock, parse_time
from kubectl_spawn.errors import CommandError, ExitCode


def find_app(cluster: Cluster, name: str) -> App:
    """The app of that name.

    Raises:
        CommandError: there is none (with the nearest name there is), or the cluster refused.
    """
    found = cluster.find(SESSIONS, name)
    if found is None:
        raise missing(cluster, name)
    return App(found)


def find_living_app(cluster: Cluster, name: str) -> App:
    """The app of that name, which has not ended.

    Raises:
        CommandError: there is none, it has ended, or the cluster refused.
    """
    app = find_app(cluster, name)
    if app.state not in LIVING:
        over = parse_time(app.status.get("destroyedAt"))
        at = f" at {local_clock(over, datetime.now(UTC))}" if over else ""
        raise CommandError(
            f"{name} {'failed' if app.state is State.FAILED else 'ended'}{at}"
            + (f" ({app.reason})" if app.reason else ""),
            code=ExitCode.APP_FAILED,
            next_steps=(f"kubectl spawn create --like {name}",),
        )
    return app


def missing(cluster: Cluster, name: str) -> CommandError:
    """The error that no app has this name."""
    try:
        names = [App(one).name for one in cluster.items(SESSIONS)]
    except CommandError:
        names = []
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return CommandError(
        f'no app "{name}" in namespace {cluster.namespace}.{hint}',
        code=ExitCode.NOT_FOUND,
        next_steps=("kubectl spawn list -A",),
    )
