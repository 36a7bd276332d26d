"""Which step an image takes next, and which images a class keeps."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from spawnai.lifecycle import baking
from spawnai.lifecycle.baking import (
    BAKED_WITHIN,
    IN_USE_FOR,
    RETRY_AFTER,
    Bake,
    Keeping,
    KnownBake,
    OwnDroplet,
    SeenImage,
    keep_images,
    plan_bake,
)

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
REGIONS = ("nyc3", "sfo3")
FRESH = Bake(
    begun_at=NOW,
    settles_at=None,
    builders=(),
    builder_gone_at=None,
    images=(),
    regions=REGIONS,
)
HERE = SeenImage(7, frozenset({"nyc3"}))
WEEK = timedelta(days=7)


def step(after: timedelta = timedelta(), **changes) -> baking.Step:
    return plan_bake(replace(FRESH, **changes), NOW + after)


def test_a_lost_order_is_looked_for_before_another_one_is_sent():
    settling = {"settles_at": NOW + timedelta(seconds=30)}
    assert isinstance(step(timedelta(seconds=29), **settling), baking.Wait)
    assert step(timedelta(seconds=30), **settling) == baking.CreateBuilder()


def test_only_a_builder_that_is_off_and_not_locked_is_made_an_image_of():
    for status, locked in (("new", True), ("active", False), ("off", True)):
        assert isinstance(step(builders=(OwnDroplet(1, status, locked),)), baking.Wait)
    assert step(builders=(OwnDroplet(1, "off", locked=False),)) == baking.TakeSnapshot(1)


def test_what_does_not_show_our_marks_is_not_deleted():
    stranger = OwnDroplet(1, "off", locked=False, shows_marks=False)
    assert isinstance(step(builders=(stranger,), images=(HERE,)), baking.Wait)
    assert isinstance(step(builders=(stranger,), ending="Outdated"), baking.Wait)


def test_of_two_builders_the_older_one_is_kept():
    two = (OwnDroplet(2, "active", locked=False), OwnDroplet(1, "active", locked=False))
    assert step(builders=two) == baking.DeleteBuilder(2)


def test_of_two_images_the_one_in_more_regions_is_kept():
    wider = SeenImage(9, frozenset(REGIONS))
    assert step(images=(HERE, wider)) == baking.DeleteImage(7)


def test_the_builder_goes_before_the_image_is_copied():
    there = {"images": (HERE,), "builders": (OwnDroplet(1, "off", locked=False),)}
    assert step(**there) == baking.DeleteBuilder(1)
    assert step(images=(HERE,)) == baking.Transfer(7, "sfo3")
    assert isinstance(step(images=(HERE,), transferring=True), baking.Wait)
    assert step(images=(SeenImage(7, frozenset(REGIONS)),)) == baking.Done()


def test_an_image_that_is_not_there_in_time_has_failed_and_one_that_is_there_has_not():
    working = {"builders": (OwnDroplet(1, "active", locked=False),)}
    almost = BAKED_WITHIN - timedelta(seconds=1)
    assert isinstance(step(almost, **working), baking.Wait)
    assert step(BAKED_WITHIN, **working) == baking.DeleteBuilder(1)
    assert step(BAKED_WITHIN) == baking.Close(baking.FAILED)
    assert step(BAKED_WITHIN, images=(HERE,)) == baking.Transfer(7, "sfo3")


def test_a_ledger_is_closed_once_nothing_can_show_late():
    gone = {"ending": "NotWanted", "builder_gone_at": NOW}
    assert isinstance(step(timedelta(seconds=29), **gone), baking.Wait)
    assert step(timedelta(seconds=30), **gone) == baking.Close("NotWanted")


def keep(*bakes: KnownBake, wanted: str | None = "a", now: datetime = NOW, **changes) -> Keeping:
    given = {
        "regions": REGIONS,
        "max_age": WEEK,
        "failed_at": None,
        "unwanted_since": None,
        **changes,
    }
    return keep_images(bakes, wanted=wanted, now=now, **given)


WHOLE = KnownBake("one", "a", NOW, image=7, made_at=NOW, usable_in=frozenset(REGIONS))


def test_an_image_is_begun_once_and_again_when_it_is_old():
    assert keep().begin
    assert not keep(KnownBake("one", "a", NOW)).begin
    assert not keep(WHOLE, now=NOW + WEEK - timedelta(seconds=1)).begin
    assert keep(WHOLE, now=NOW + WEEK).begin
    assert not keep(WHOLE, KnownBake("two", "a", NOW + WEEK), now=NOW + WEEK).begin
    assert not keep(wanted=None).begin


def test_after_a_failure_the_next_one_waits():
    assert not keep(failed_at=NOW, now=NOW + RETRY_AFTER - timedelta(seconds=1)).begin
    assert keep(failed_at=NOW, now=NOW + RETRY_AFTER).begin


def test_droplets_start_only_from_an_image_with_what_the_class_asks_for():
    assert keep(WHOLE).offered == {"nyc3": 7, "sfo3": 7}
    assert keep(WHOLE, wanted="b").offered == {}
    assert keep(replace(WHOLE, usable_in=frozenset({"sfo3"}))).offered == {"sfo3": 7}
    assert keep(replace(WHOLE, kept=True)).offered == {}, "a class names it by its number"
    assert keep(replace(WHOLE, deleted=True)).offered == {}


def test_an_old_image_stays_until_its_successor_is_everywhere_and_nothing_starts_from_it():
    newer = KnownBake("two", "b", NOW, image=8, made_at=NOW, usable_in=frozenset({"nyc3"}))
    old = replace(WHOLE, begun_at=NOW - WEEK)
    later = NOW + IN_USE_FOR
    assert keep(old, newer, wanted="b", now=later).endings == {}
    everywhere = replace(newer, usable_in=frozenset(REGIONS))
    soon = later - timedelta(seconds=1)
    assert keep(old, everywhere, wanted="b", now=soon).endings == {}
    assert keep(old, everywhere, wanted="b", now=later).endings == {"one": "Superseded"}
    named = replace(old, named=True)
    assert keep(named, everywhere, wanted="b", now=later).endings == {}


def test_what_is_being_made_of_something_else_ends_at_once():
    assert keep(KnownBake("one", "b", NOW)).endings == {"one": "Outdated"}


def test_an_image_that_a_person_asked_for_is_replaced_by_the_next_one_only():
    asked = replace(WHOLE, kept=True, contents="whatever")
    later = NOW + IN_USE_FOR
    assert keep(asked, wanted=None, unwanted_since=NOW, now=later).endings == {}
    second = replace(asked, uid="two", begun_at=NOW + timedelta(seconds=1))
    assert keep(asked, second, wanted=None, now=later).endings == {"one": "Superseded"}
    assert keep(replace(asked, named=True), second, wanted=None, now=later).endings == {}
