import json

import pytest

from spawnai.app_runtime import npm_lock, npm_packages
from spawnai.app_runtime.locks import lock_of


def test_a_lock_holds_the_closure_of_what_an_app_asks_for_and_no_more():
    lock = lock_of(["express"])
    packages = lock["packages"]
    assert packages[""]["dependencies"] == {"express": npm_packages()["express"]}
    assert "node_modules/accepts" in packages
    assert "node_modules/zod" not in packages
    # Of two versions, the one that is found from where it is needed.
    assert "node_modules/accepts/node_modules/negotiator" in packages
    assert "node_modules/compression/node_modules/debug" not in packages


def test_every_package_has_an_exact_version_and_a_hash():
    for place, package in lock_of(npm_packages())["packages"].items():
        if place:
            assert package["version"] == npm_lock()["packages"][place]["version"]
            assert package["integrity"].startswith("sha512-")


def test_all_packages_together_are_the_platforms_own_lock():
    # All but what other packages may bring along and none does.
    assert set(lock_of(npm_packages())["packages"]) == set(npm_lock()["packages"])


def test_nothing_is_locked_that_an_app_may_not_use():
    with pytest.raises(ValueError, match="left-pad: not among the packages"):
        lock_of(["express", "left-pad"])


def test_the_lock_of_the_largest_app_is_small_beside_a_bundle():
    assert len(json.dumps(lock_of(npm_packages()))) < 64 * 1024
