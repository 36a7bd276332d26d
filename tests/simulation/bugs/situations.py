"""Situations in which a rare mistake shows itself: a story drawn at random seldom comes to them."""

from dataclasses import replace
from random import Random

from tests.simulation.story import (
    FIRST_PROMPT,
    HARM,
    METERED,
    MOMENTS,
    SHOWS_LATE,
    Act,
    BudgetSet,
    ClassDeleted,
    ClockJump,
    Crash,
    Crowd,
    Fault,
    Handover,
    Happening,
    MachineSleep,
    Order,
    Outage,
    PoolSet,
    SecretsRefused,
    Story,
    in_order,
    story_of,
)


def any_story(seed: int) -> Story:
    """Whatever a seed tells."""
    return story_of(seed)


def readiness_is_forged(seed: int) -> Story:
    """Somebody writes into the status of a running session when it became ready."""
    random = Random(seed)
    at = random.uniform(0, 20)
    forged = Act(round(at + random.uniform(30, 100), 1), "forges the readiness of", "app", "+86400")
    return _in_the_world_of(seed, [_order(at), forged])


def answer_of_a_creation_is_lost(seed: int) -> Story:
    """It may have happened, or not, or be under way for long; sometimes the session ends then."""
    random = Random(seed)
    at = random.uniform(0, 20)
    call = random.choice(("POST droplet", "POST droplet", "POST record", "POST firewall"))
    lost = Fault(call, 1, random.choice(("answer lost", "hangs", "slow", "never arrives")))
    happenings: list[Happening] = [_order(at), lost]
    if random.random() < 0.7:
        happenings.append(Act(round(at + random.uniform(1, 20), 1), "deletes", "app"))
    return _in_the_world_of(seed, happenings)


def new_things_answer_404(seed: int) -> Story:
    """And the session ends before they do not any more, or an agent is silent meanwhile."""
    random = Random(seed)
    at = random.uniform(0, 20)
    happenings: list[Happening] = [_order(at)]
    if random.random() < 0.5:
        ends = round(at + random.choice((random.uniform(0.5, 3), random.uniform(5, 40))), 1)
        happenings.append(Act(ends, "deletes", "app"))
    else:
        happenings.append(Outage(round(at + 5, 1), "every agent", 70.0))
    story = _in_the_world_of(seed, happenings)
    return replace(story, settings=replace(story.settings, unseen_seconds=100.0))


def name_or_firewall_comes_late(seed: int) -> Story:
    """When it was thought to be settled; the session ends about then."""
    random = Random(seed)
    at = random.uniform(0, 20)
    late = Fault(random.choice(("POST record", "POST firewall")), 1, SHOWS_LATE)
    ends = round(at + random.uniform(30, 90), 1)
    story = _in_the_world_of(seed, [_order(at, "8m"), late, Act(ends, "deletes", "app")])
    return replace(story, settings=replace(story.settings, domain=True, own_firewalls=True))


def operator_dies_while_all_is_deleted(seed: int) -> Story:
    """A session and its class are deleted together, perhaps before the name and the firewall were
    made. The class has no firewall to wait for, and the next operator may see it before the
    session.
    """
    random = Random(seed)
    at = random.uniform(0, 20)
    ends = round(at + random.uniform(1, 15), 1)
    story = _in_the_world_of(
        seed,
        [
            _order(at),
            Act(ends, "deletes", "app"),
            ClassDeleted(ends, 600.0),
            Crash(1, random.randint(15, 60), random.choice(MOMENTS), 5.0),
        ],
    )
    settings = replace(story.settings, domain=True, own_firewalls=True, watch_seconds=2.0)
    return replace(story, settings=settings)


def name_is_repointed_before_a_restart(seed: int) -> Story:
    """The next operator sees it in its first listing; the session's end comes after that."""
    random = Random(seed)
    at = random.uniform(0, 20)
    repointed = round(at + random.uniform(20, 40), 1)
    return _in_the_world_of(
        seed,
        [
            _order(at),
            Act(repointed, "repoints the name of", "app"),
            Act(round(repointed + 300, 1), "deletes by hand the name of", "app"),
            Crash(1, random.randint(40, 80), random.choice(MOMENTS), 5.0),
        ],
    )


def droplet_shows_after_its_session_is_over(seed: int) -> Story:
    """A POST without an answer; by the time its droplet shows, nobody looks for it any more."""
    random = Random(seed)
    at = random.uniform(0, 20)
    ends = round(at + random.uniform(8, 30), 1)
    what = random.choice(("deletes", "deletes and applies again"))
    return _in_the_world_of(
        seed, [_order(at), Fault("POST droplet", 1, SHOWS_LATE), Act(ends, what, "app")]
    )


def operator_dies_while_it_reaps(seed: int) -> Story:
    """A droplet turns up after its session is over, and is found by an operator that dies then."""
    random = Random(seed)
    at = random.uniform(0, 20)
    ends, turns_up = round(at + random.uniform(20, 40), 1), round(at + random.uniform(150, 400), 1)
    return _in_the_world_of(
        seed,
        [
            _order(at),
            Act(ends, "deletes", "app"),
            Act(turns_up, "makes by hand a droplet with the marks of", "app"),
            Crash(1, random.randint(80, 200), random.choice(MOMENTS), random.uniform(5, 25)),
        ],
    )


def droplet_shows_while_an_operator_starts(seed: int) -> Story:
    """A POST without an answer, and a crash: the next operator lists before it has read."""
    random = Random(seed)
    orders = [
        Order(round(random.uniform(0, 25), 1), f"app-{number}", None, "webapp")
        for number in range(3)
    ]
    late = Fault("POST droplet", random.randint(1, 3), SHOWS_LATE)
    crash = Crash(1, random.randint(40, 160), random.choice(MOMENTS), random.uniform(5, 25))
    return _in_the_world_of(seed, [*orders, late, crash])


def end_comes_while_nothing_answers(seed: int) -> Story:
    """The finalizer is stripped, so the session waits for the API server when its time is over."""
    random = Random(seed)
    at = random.uniform(0, 20)
    away = round(at + random.uniform(10, 80), 1)
    return _in_the_world_of(
        seed,
        [
            _order(at),
            Outage(away, "the API server", round(random.uniform(50, 110), 1)),
            Act(round(away + random.uniform(-1, 3), 1), "strips the finalizers of", "app"),
        ],
    )


def end_goes_back_to_what_it_was(seed: int) -> Story:
    """A running session's life is shortened, and restored."""
    random = Random(seed)
    at = random.uniform(0, 20)
    shortened = at + random.uniform(80, 110)
    restored = shortened + random.uniform(2, 60)
    return _in_the_world_of(
        seed,
        [
            _order(at, "8m"),
            Act(round(shortened, 1), "sets the ttl of", "app", "4m"),
            Act(round(restored, 1), "sets the ttl of", "app", "8m"),
        ],
    )


def secrets_are_refused(seed: int) -> Story:
    """A quota or a fault keeps the app from being stored, for a while or until the deadline."""
    random = Random(seed)
    at, status = random.uniform(0, 20), random.choice((403, 422, 500))
    lasts = random.choice((30.0, 100.0, 300.0))
    return _in_the_world_of(seed, [_order(at), SecretsRefused(round(at, 1), lasts, status)])


def one_listing_of_droplets_is_empty(seed: int) -> Story:
    """Three apps run; once, DigitalOcean answers a listing with nothing at all."""
    random = Random(seed)
    happenings: list[Happening] = [_order_of(random, f"app-{n}", "8m") for n in range(3)]
    empty = Fault("LIST droplets by tag", random.randint(20, 60), "empty")
    return _with_room(_in_the_world_of(seed, [*happenings, empty]))


def several_end_while_listings_are_empty(seed: int) -> Story:
    """Three of four apps are deleted at once; about then, DigitalOcean lists nothing at all."""
    random = Random(seed)
    happenings: list[Happening] = [_order_of(random, f"app-{n}", "8m") for n in range(4)]
    happenings += [Act(90.0, "deletes", f"app-{n}") for n in range(3)]
    first = random.randint(15, 45)
    happenings += [Fault("LIST droplets by tag", first + n, "empty") for n in range(6)]
    return _with_room(_in_the_world_of(seed, happenings))


def cluster_is_listed_empty_once(seed: int) -> Story:
    """While an app runs, a droplet has to be reaped. The first time that the API server is asked
    for ledgers and sessions, it answers that there are none.
    """
    return _listed_empty(seed, apps=1, looks=1)


def cluster_is_listed_empty_for_minutes(seed: int) -> Story:
    """While three apps run, a droplet has to be reaped. Several times in a row the API server
    answers that there are no ledgers and no sessions.
    """
    return _listed_empty(seed, apps=3, looks=3)


def _listed_empty(seed: int, *, apps: int, looks: int) -> Story:
    random = Random(seed)
    ended = Order(0.0, "ended", "90s", "webapp")
    deleted = Act(round(random.uniform(15, 30), 1), "deletes", "ended")
    # Old enough for the reaper ten minutes later, while the apps still run.
    at = round(deleted.at + random.uniform(10, 30), 1)
    stray = Act(at, "makes by hand a droplet with the marks of", "ended")
    happenings: list[Happening] = [_order_of(random, f"app-{n}", "12m") for n in range(apps)]
    happenings += [
        Fault(f"API list {kind}", nth, "empty")
        for kind in ("records", "sessions")
        for nth in range(1, looks + 1)
    ]
    return _with_room(_in_the_world_of(seed, [ended, deleted, stray, *happenings]))


def _order_of(random: Random, name: str, ttl: str) -> Order:
    return Order(round(random.uniform(0, 20), 1), name, ttl, "webapp")


def _with_room(story: Story) -> Story:
    return replace(story, settings=replace(story.settings, droplet_limit=10))


def another_leads_while_creations_wait(seed: int) -> Story:
    """An operator is stopped while a creation waits for calls, and wakes when another made it."""
    random = Random(seed)
    at = random.uniform(3, 10)
    lease = random.uniform(15, 18)
    wakes = lease + random.uniform(35, 70)
    stopped = Handover(1, random.randint(10, 17), random.choice(MOMENTS), lease, wakes)
    return _in_the_world_of(seed, [_order(at), Crowd(round(at, 1), 20.0), stopped])


def app_is_a_process_that_may_break(seed: int) -> Story:
    """An API that lives for some minutes; nobody interferes."""
    random = Random(seed)
    at = round(random.uniform(0, 20), 1)
    return _in_the_world_of(seed, [Order(at, "app", random.choice(("90s", "6m")), "api")])


def prompt_changes(seed: int) -> Story:
    """Somebody wants another app of a running session, and later the first one again."""
    random = Random(seed)
    at = round(random.uniform(0, 20), 1)
    what = "changes the prompt of"
    happenings: list[Happening] = [
        Order(at, "app", "8m", random.choice(("webapp", "api"))),
        Act(round(at + random.uniform(10, 60), 1), what, "app", "A calendar"),
        Act(round(at + random.uniform(150, 200), 1), what, "app", FIRST_PROMPT),
    ]
    return _in_the_world_of(seed, happenings)


def end_is_put_off_at_the_last_moment(seed: int) -> Story:
    """An API is about to end, and is given another minute."""
    random = Random(seed)
    at, ends = round(random.uniform(0, 20), 1), round(random.uniform(60, 80), 1)
    put_off = round(ends + random.uniform(0.5, 3), 1)
    return _in_the_world_of(
        seed,
        [
            Order(at, "app", "6m", "api"),
            Act(ends, "sets expires-at of", "app", "+5"),
            Act(put_off, "sets expires-at of", "app", "+60"),
        ],
    )


def date_moves_before_the_end(seed: int) -> Story:
    """A session runs, and the operator's machine sleeps, or its clock is set."""
    random = Random(seed)
    at = random.uniform(0, 20)
    when = round(at + random.uniform(45, 90), 1)
    step = random.choice((60.0, 300.0, 3_600.0))
    moves = random.choice((MachineSleep(when, step), ClockJump(when, step)))
    return _in_the_world_of(seed, [_order(at, random.choice(("3m", "6m"))), moves])


def date_moves_while_an_answer_is_awaited(seed: int) -> Story:
    """A lost answer is settled by looking for it for a while, and the clock is set meanwhile."""
    random = Random(seed)
    at = random.uniform(0, 20)
    lost = Fault("POST droplet", 1, random.choice(("answer lost", "hangs", "slow", SHOWS_LATE)))
    step = random.choice((-3_600.0, -300.0, 60.0, 300.0))
    moves = ClockJump(round(at + random.uniform(8, 40), 1), step)
    happenings: list[Happening] = [_order(at), lost, moves]
    if random.random() < 0.5:
        happenings.append(Act(round(at + random.uniform(4, 40), 1), "deletes", "app"))
    return _in_the_world_of(seed, happenings)


def date_moves_while_a_deletion_fails(seed: int) -> Story:
    """A deletion has to be tried again, and the clock is set back before it is."""
    random = Random(seed)
    at = random.uniform(0, 20)
    ends = at + random.uniform(40, 60)
    away = random.uniform(10, 30)
    back = random.choice((-300.0, -3_600.0))
    return _in_the_world_of(
        seed,
        [
            _order(at),
            Act(round(ends, 1), "deletes", "app"),
            Outage(round(ends, 1), "the cloud", round(away, 1)),
            ClockJump(round(ends + away - random.uniform(0.5, 4), 1), back),
        ],
    )


def _order(at: float, ttl: str = "90s") -> Order:
    return Order(round(at, 1), "app", ttl, "webapp")


def _in_the_world_of(seed: int, happenings: list[Happening]) -> Story:
    return replace(story_of(seed), happenings=in_order(happenings))


def spares_are_taken(seed: int) -> Story:
    """Sessions take spares while the operator dies, calls fail, the pool is made smaller or is
    deleted, or a session ends in the middle of it.
    """
    random = Random(f"spares:{seed}")
    at = random.uniform(25, 45)
    happenings: list[Happening] = [PoolSet(0.0, random.randint(1, 2)), PoolSet(320.0, None)]
    for number in range(2):
        ordered = round(at + random.choice((0.0, random.uniform(0, 30))), 1)
        happenings.append(Order(ordered, f"app-{number}", "90s", "webapp"))
    if random.random() < 0.5:
        smaller = round(at + random.uniform(0, 40), 1)
        happenings.append(PoolSet(smaller, 0))
    if random.random() < 0.4:
        ends = round(at + random.uniform(5, 40), 1)
        happenings.append(Act(ends, "deletes", f"app-{random.randint(0, 1)}"))
    if random.random() < 0.7:
        happenings.append(Crash(1, random.randint(20, 140), random.choice(MOMENTS), 5.0))
    calls = ("AGENT take over", "TAG droplet", "RENAME droplet", "UNTAG droplet", "POST droplet")
    for call in calls:
        if random.random() < 0.3:
            kind = random.choice(("fails before", "answer lost", "hangs", "never arrives"))
            happenings.append(Fault(call, random.randint(1, 2), kind))
    story = _in_the_world_of(seed, happenings)
    return replace(story, settings=replace(story.settings, droplet_limit=20, boot_seconds=12.0))


def money_for_one(seed: int) -> Story:
    """Three sessions are ordered almost at once, and the budget bears the start of one at a time; a
    leader may die, and the first one asks for a longer life.
    """
    random = Random(seed)
    at = random.uniform(12, 16)
    happenings: list[Happening] = [BudgetSet(0.0, "1.02"), BudgetSet(400.0, None)]
    for number in range(3):
        ordered = round(at + random.choice((0.0, 0.0, 0.0, 2.0)), 1)
        happenings.append(Order(ordered, f"app-{number}", "90s", random.choice(("webapp", "api"))))
    longer = round(at + random.uniform(15, 60), 1)
    happenings.append(Act(longer, "sets the ttl of", "app-0", "5h"))
    if random.random() < 0.5:
        happenings.append(Crash(1, random.randint(12, 60), random.choice(MOMENTS), 0.5))
    story = _in_the_world_of(seed, happenings)
    return replace(story, settings=replace(story.settings, droplet_limit=10, watch_seconds=0.05))


def money_for_one_of_two_classes(seed: int) -> Story:
    """The budget bears the start of one session at a time. Sessions of two classes wait for it, so
    what comes back may be promised in both.
    """
    random = Random(seed)
    at = random.uniform(12, 16)
    happenings: list[Happening] = [BudgetSet(0.0, "1.02"), BudgetSet(400.0, None)]
    for number, class_name in enumerate((None, None, METERED, METERED)):
        ordered = round(at + (random.uniform(0.5, 3) if number else 0.0), 1)
        kind = random.choice(("webapp", "api"))
        happenings.append(Order(ordered, f"app-{number}", "90s", kind, class_name))
    if random.random() < 0.5:
        happenings.append(Crash(1, random.randint(12, 60), random.choice(MOMENTS), 0.5))
    story = _in_the_world_of(seed, happenings)
    return replace(story, settings=replace(story.settings, droplet_limit=10, watch_seconds=0.05))


def use_is_measured(seed: int) -> Story:
    """An app runs for minutes in a class whose prices follow the use; its agent may be silent."""
    random = Random(seed)
    order = Order(round(random.uniform(0, 20), 1), "app", "6m", "api", METERED)
    happenings: list[Happening] = [order]
    if random.random() < 0.5:
        kind = random.choice(("fails before", "answer lost", "hangs", "slow"))
        happenings.append(Fault("AGENT usage", random.randint(1, 3), kind))
    return _in_the_world_of(seed, happenings)


def a_droplet_breaks(seed: int) -> Story:
    """Of two long sessions one loses its droplet, or that stops answering."""
    random = Random(seed)
    at = round(random.uniform(40, 90), 1)
    return _in_the_world_of(
        seed,
        [
            Order(0.5, "app-0", "5h", "api"),
            Order(1.5, "app-1", "5h", "webapp"),
            Act(at, random.choice(HARM), "app-0"),
        ],
    )


def two_droplets_are_lost(seed: int) -> Story:
    """Two long sessions lose their droplets at once."""
    random = Random(seed)
    at = round(random.uniform(40, 90), 1)
    return _in_the_world_of(
        seed,
        [
            Order(0.5, "app-0", "5h", "webapp"),
            Order(1.5, "app-1", "5h", "webapp"),
            Act(at, "deletes by hand the droplet of", "app-0"),
            Act(at + 1, "deletes by hand the droplet of", "app-1"),
        ],
    )


def no_agent_is_reached(seed: int) -> Story:
    """The way between the operator and its droplets is cut for minutes; nothing is wrong there."""
    random = Random(seed)
    names = ("app-0", "app-1")[: random.choice((1, 2))]
    orders = [Order(float(number), name, "5h", "webapp") for number, name in enumerate(names)]
    at, seconds = round(random.uniform(60, 120), 1), random.choice((420.0, 500.0))
    return _in_the_world_of(seed, [*orders, Outage(at, "every agent", seconds)])
