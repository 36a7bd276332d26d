"""Who is an orphan, who is not, and when nobody is. Most stories differ from the first in one
thing, which is their name.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from spawnai.lifecycle.reaping import (
    CloudListing,
    ClusterListing,
    Judgement,
    Ledger,
    ReapingRules,
    Recollection,
    SeenDroplet,
    Verdict,
    is_bare_class_firewall,
    is_bare_session_firewall,
    is_name_of,
    judge,
    owner_of,
    verdict_on,
)

CLUSTER = "c1a50000-0000-4000-8000-000000000001"
UID = "5e550000-0000-4000-8000-000000000001"
CLASS = "c1a55000-0000-4000-8000-000000000001"
NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
RULES = ReapingRules(
    minimum_age=timedelta(minutes=10), between_sightings=timedelta(seconds=20), most_per_hour=5
)


def uid(number: int) -> str:
    return f"5e550000-0000-4000-8000-{number:012d}"


def ours(number: int = 1, *, id_: int | None = None, **changes) -> SeenDroplet:
    """An hour old, with all of our marks."""
    session = uid(number)
    made = SeenDroplet(
        id=id_ if id_ is not None else number,
        name=f"spawn-{session}",
        tags=frozenset(
            {
                *("spawn-ai", "ephemeral", "wave:202611231100", "ttl:1795438800"),
                *(f"session:{session}", f"cluster:{CLUSTER}", f"class:{CLASS}"),
            }
        ),
        created_at=NOON - timedelta(hours=1),
        ip="203.0.113.7",
    )
    return replace(made, **changes)


def without(tag: str) -> SeenDroplet:
    return ours(tags=frozenset(one for one in ours().tags if not one.startswith(tag)))


def with_tag(*tags: str) -> SeenDroplet:
    return ours(tags=ours().tags | frozenset(tags))


OPEN = Ledger(completed=False, present=frozenset({"1"}))
CLOSED = Ledger(completed=True, gone=frozenset({"1"}))


@dataclass
class Reaper:
    """The reaper with a memory, looking at both sides every 30 s."""

    ledgers: dict[str, Ledger] = field(default_factory=lambda: {uid(900): OPEN})
    sessions: set[str] = field(default_factory=set)
    known_before: int = 0
    rules: ReapingRules = RULES
    now: datetime = NOON
    memory: Recollection = field(default_factory=Recollection)
    tried_at: dict[int, datetime] = field(default_factory=dict)

    def look(
        self, *droplets: SeenDroplet, after: timedelta = 30 * SECOND, doubt: str = ""
    ) -> Judgement:
        """What it decides that long after its last look. A listing takes two seconds."""
        self.now += after
        judgement = judge(
            CloudListing(droplets, self.now - 2 * SECOND, self.now - SECOND, doubt),
            ClusterListing(
                self.ledgers, frozenset(self.sessions), self.now - SECOND, self.known_before
            ),
            cluster_uid=CLUSTER,
            before=self.memory,
            rules=self.rules,
            now=self.now,
            tried_at=self.tried_at,
        )
        self.memory = judgement.recollection
        self.tried_at |= {orphan.droplet.id: self.now for orphan in judgement.due}
        return judgement


def judge_once(cloud: CloudListing, cluster: ClusterListing) -> Judgement:
    return judge(cloud, cluster, cluster_uid=CLUSTER, before=Recollection(), rules=RULES, now=NOON)


def ids(orphans) -> list[int]:
    return [orphan.droplet.id for orphan in orphans]


STORIES = {
    "an open ledger lists it": (ours(), OPEN, True, Verdict.EXPLAINED),
    "an open ledger lists it and its session is gone": (ours(), OPEN, False, Verdict.EXPLAINED),
    "its ledger is lost but its session lives": (ours(), None, True, Verdict.EXPLAINED),
    "its ledger is closed but its session lives": (ours(), CLOSED, True, Verdict.EXPLAINED),
    "a closed ledger says it is still there: its removal was not ended": (
        ours(),
        Ledger(completed=True, present=frozenset({"1"})),
        False,
        Verdict.ORPHAN,
    ),
    "no ledger and no session": (ours(), None, False, Verdict.ORPHAN),
    "a closed ledger says it is gone": (ours(), CLOSED, False, Verdict.ORPHAN),
    "a closed ledger never knew it": (ours(id_=2), CLOSED, False, Verdict.ORPHAN),
    "an open ledger does not list it": (ours(id_=2), OPEN, True, Verdict.UNLISTED),
    "an open ledger does not list it, its session is gone": (
        ours(id_=2),
        OPEN,
        False,
        Verdict.UNLISTED,
    ),
    "an open ledger says it is gone": (
        ours(),
        Ledger(completed=False, gone=frozenset({"1"})),
        True,
        Verdict.UNLISTED,
    ),
    "one second too young": (
        ours(created_at=NOON - 10 * MINUTE + SECOND),
        None,
        False,
        Verdict.YOUNG,
    ),
    "just old enough": (ours(created_at=NOON - 10 * MINUTE), None, False, Verdict.ORPHAN),
    "made in the future, by DigitalOcean's clock": (
        ours(created_at=NOON + MINUTE),
        None,
        False,
        Verdict.YOUNG,
    ),
    "without the product's tag": (without("spawn-ai"), None, False, Verdict.FOREIGN),
    "without the tag ephemeral": (without("ephemeral"), None, False, Verdict.FOREIGN),
    "without a session's tag": (without("session:"), None, False, Verdict.FOREIGN),
    "without a cluster's tag": (without("cluster:"), None, False, Verdict.FOREIGN),
    "of another cluster": (
        replace(without("cluster:"), tags=without("cluster:").tags | {"cluster:another"}),
        None,
        False,
        Verdict.FOREIGN,
    ),
    "with the tags of two sessions": (with_tag(f"session:{uid(2)}"), None, False, Verdict.FOREIGN),
    "with another name": (ours(name="database"), None, False, Verdict.FOREIGN),
    "with another session's name": (ours(name=f"spawn-{uid(2)}"), None, False, Verdict.FOREIGN),
    "with more than our name": (ours(name=f"spawn-{UID}-2"), None, False, Verdict.FOREIGN),
    "with a name alone": (ours(tags=frozenset()), None, False, Verdict.FOREIGN),
}


@pytest.mark.parametrize("story", STORIES)
def test_what_a_droplet_is(story):
    droplet, ledger, session_lives, verdict = STORIES[story]
    assert (
        verdict_on(
            droplet,
            CLUSTER,
            ledger,
            session_lives=session_lives,
            minimum_age=RULES.minimum_age,
            now=NOON,
        )
        is verdict
    )


def test_all_marks_together_tell_the_session_in_its_own_cluster_only():
    assert owner_of(ours().name, ours().tags, CLUSTER) == UID
    assert owner_of(ours().name, ours().tags, "another") is None


def test_an_orphan_goes_after_two_sightings_and_not_after_one():
    reaper = Reaper()
    first, second = reaper.look(ours()), reaper.look(ours())
    assert (ids(first.orphans), ids(first.due)) == ([1], [])
    assert (ids(second.orphans), ids(second.due)) == ([1], [1])


@pytest.mark.parametrize(("apart", "due"), [(21, []), (22, [1])])
def test_the_second_look_begins_20_s_after_the_first_was_judged(apart, due):
    """The listing that is judged at 22 s was begun 2 s before."""
    reaper = Reaper()
    reaper.look(ours())
    assert ids(reaper.look(ours(), after=apart * SECOND).due) == due


def test_an_orphan_that_was_not_there_in_between_begins_again():
    reaper = Reaper()
    reaper.look(ours())
    reaper.look()
    assert ids(reaper.look(ours()).due) == []
    assert ids(reaper.look(ours()).due) == [1]


def test_an_orphan_whose_ledger_turns_up_is_none():
    reaper = Reaper()
    reaper.look(ours())
    reaper.ledgers[UID] = OPEN
    assert reaper.look(ours()).orphans == ()


def test_an_orphan_whose_session_turns_up_is_none():
    reaper = Reaper()
    reaper.look(ours())
    reaper.sessions.add(UID)
    assert reaper.look(ours()).orphans == ()


def test_a_sighting_in_doubt_does_not_count():
    reaper = Reaper()
    reaper.look(ours())
    assert reaper.look(ours(), doubt="the listing is incomplete").due == ()
    assert ids(reaper.look(ours()).due) == []
    assert ids(reaper.look(ours()).due) == [1]


def test_a_listing_in_doubt_says_why():
    assert Reaper().look(ours(), doubt="page 2 was missing").doubt == "page 2 was missing"


def test_what_its_open_ledger_does_not_list_is_entered_there_after_two_sightings():
    reaper = Reaper()
    reaper.ledgers[UID] = OPEN
    spare = ours(id_=2)
    assert ids(reaper.look(spare).unlisted) == []
    judged = reaper.look(spare)
    assert (ids(judged.unlisted), judged.orphans) == ([2], ())


def test_a_spare_whose_ledger_is_closed_meanwhile_is_sighted_anew():
    reaper = Reaper()
    reaper.ledgers[UID] = OPEN
    spare = ours(id_=2)
    reaper.look(spare)
    reaper.ledgers[UID] = CLOSED
    assert ids(reaper.look(spare).due) == []
    assert ids(reaper.look(spare).due) == [2]


def test_ledgers_listed_before_the_droplets_prove_nothing():
    cloud = CloudListing((ours(),), NOON - 2 * SECOND, NOON)
    cluster = ClusterListing({uid(900): OPEN}, frozenset(), NOON - SECOND)
    judged = judge_once(cloud, cluster)
    assert "before the droplets" in judged.doubt
    assert judged.recollection.sightings == {}


@pytest.mark.parametrize(("age", "trusted"), [(600, True), (601, False)])
def test_a_listing_older_than_ten_minutes_is_not_judged(age, trusted):
    cloud = CloudListing((ours(),), NOON - age * SECOND, NOON - SECOND)
    cluster = ClusterListing({uid(900): OPEN}, frozenset(), NOON)
    judged = judge_once(cloud, cluster)
    assert (judged.doubt == "") is trusted


def test_no_more_than_the_hourly_limit_goes_and_the_rest_follows_an_hour_later():
    reaper = Reaper()
    many = [ours(number) for number in range(1, 9)]
    reaper.look(*many)
    judged = reaper.look(*many)
    assert (len(judged.due), judged.withheld) == (5, 3)
    rest = many[5:]
    assert (reaper.look(*rest).due, reaper.look(*rest).withheld) == ((), 3)
    assert ids(reaper.look(*rest, after=60 * MINUTE).due) == [6, 7, 8]


def test_deletions_with_a_receipt_count_whoever_made_them():
    at = NOON - 10 * MINUTE
    receipt = Ledger(completed=True, gone=frozenset({"77"}), reaped={"77": at})
    reaper = Reaper(rules=replace(RULES, most_per_hour=2), ledgers={uid(77): receipt})
    reaper.look(ours(1), ours(2))
    judged = reaper.look(ours(1), ours(2))
    assert (len(judged.due), judged.withheld) == (1, 1)
    assert len(reaper.look(ours(2)).due) == 0
    assert len(reaper.look(ours(2), after=50 * MINUTE).due) == 1


def test_a_deletion_that_was_tried_and_has_a_receipt_counts_once():
    receipt = Ledger(completed=True, gone=frozenset({"77"}), reaped={"77": NOON})
    reaper = Reaper(
        rules=replace(RULES, most_per_hour=2), ledgers={uid(77): receipt}, tried_at={77: NOON}
    )
    reaper.look(ours(1))
    assert len(reaper.look(ours(1)).due) == 1


def test_the_oldest_goes_first():
    reaper = Reaper(rules=replace(RULES, most_per_hour=1))
    older = ours(2, created_at=NOON - timedelta(hours=5))
    reaper.look(ours(), older)
    assert ids(reaper.look(ours(), older).due) == [2]


def test_without_a_limit_all_go():
    reaper = Reaper(rules=replace(RULES, most_per_hour=None))
    many = [ours(number) for number in range(1, 40)]
    reaper.look(*many)
    assert len(reaper.look(*many).due) == 39


def full(count: int) -> dict[str, Ledger]:
    return {uid(1000 + number): CLOSED for number in range(count)}


def test_no_ledgers_where_there_was_plenty_is_never_believed():
    reaper = Reaper(ledgers=full(10))
    reaper.look(ours())
    reaper.ledgers = {}
    for _ in range(5):
        judged = reaper.look(ours(), after=60 * MINUTE)
        assert judged.due == ()
        assert "0 SpawnRecords where there were 10" in judged.doubt


def test_few_ledgers_where_there_was_plenty_are_believed_after_an_hour():
    reaper = Reaper(ledgers=full(10))
    reaper.look(ours())
    reaper.ledgers = full(4)
    assert reaper.look(ours()).doubt
    assert reaper.look(ours(), after=59 * MINUTE).doubt
    assert not reaper.look(ours(), after=MINUTE).doubt
    assert ids(reaper.look(ours()).due) == [1]


def test_ledgers_that_come_back_are_believed_at_once():
    reaper = Reaper(ledgers=full(10))
    reaper.look(ours())
    reaper.ledgers = {}
    assert reaper.look(ours()).doubt
    reaper.ledgers = full(10)
    assert not reaper.look(ours()).doubt


@pytest.mark.parametrize(("left", "trusted"), [(5, True), (4, False)])
def test_half_of_the_ledgers_may_go_between_two_looks(left, trusted):
    reaper = Reaper(ledgers=full(10))
    reaper.look(ours())
    reaper.ledgers = full(left)
    assert (reaper.look(ours()).doubt == "") is trusted


def test_what_the_watch_knew_counts_as_plenty_after_a_restart():
    reaper = Reaper(ledgers={}, known_before=3)
    assert "where there were 3" in reaper.look(ours()).doubt


@pytest.mark.parametrize(("orphans", "trusted"), [(2, True), (3, False)])
def test_many_droplets_and_no_ledger_at_all_is_an_accident(orphans, trusted):
    reaper = Reaper(ledgers={})
    seen = [ours(number) for number in range(1, orphans + 1)]
    judged = reaper.look(*seen)
    assert (judged.doubt == "") is trusted
    if not trusted:
        assert "were the records lost?" in judged.doubt


def test_foreign_droplets_are_no_sign_of_lost_ledgers():
    reaper = Reaper(ledgers={})
    foreign = [replace(ours(number), name="database") for number in range(1, 9)]
    assert not reaper.look(*foreign).doubt


def test_an_orphan_knows_its_class_by_the_tag():
    (orphan,) = Reaper().look(ours()).orphans
    assert (orphan.session_uid, orphan.class_uid) == (UID, CLASS)
    (orphan,) = Reaper().look(without("class:")).orphans
    assert orphan.class_uid is None


@pytest.mark.parametrize(
    ("label", "data", "expected"),
    [
        ("retro-board-5e550000", "203.0.113.7", True),
        ("retro-board-5e550000", "203.0.113.8", False),
        ("retro-board-5e550001", "203.0.113.7", False),
        ("retro-board", "203.0.113.7", False),
        ("-5e550000", "203.0.113.7", False),
        ("www", "203.0.113.7", False),
    ],
)
def test_a_name_is_ours_by_its_label_and_its_address(label, data, expected):
    assert is_name_of(UID, label, data, ["203.0.113.7"]) is expected


@pytest.mark.parametrize(
    ("name", "tags", "covered", "expected"),
    [
        (f"fw-spawn-{UID}", [], [1], True),
        (f"fw-spawn-{UID}", [], [], True),
        (f"fw-spawn-{UID}", [], [1, 2], False),
        (f"fw-spawn-{UID}", ["production"], [], False),
        (f"fw-spawn-{UID}-2", [], [], False),
        (f"fw-spawn-{uid(2)}", [], [1], False),
    ],
)
def test_a_session_s_firewall_covers_nothing_else(name, tags, covered, expected):
    assert is_bare_session_firewall(UID, name, tags, covered, [1]) is expected


@pytest.mark.parametrize(
    ("name", "tags", "covered", "expected"),
    [
        (f"fw-spawn-class-{CLASS}", [f"class:{CLASS}"], [], True),
        (f"fw-spawn-class-{CLASS}", [f"class:{CLASS}"], [9], False),
        (f"fw-spawn-class-{CLASS}", [f"class:{CLASS}", "production"], [], False),
        (f"fw-spawn-class-{CLASS}", [], [], False),
        ("fw-production", [f"class:{CLASS}"], [], False),
    ],
)
def test_a_class_s_firewall_covers_its_tag_and_nothing_else(name, tags, covered, expected):
    assert is_bare_class_firewall(CLASS, name, tags, covered) is expected
