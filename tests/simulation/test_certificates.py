"""Stories with an ACME server: certificates are issued once, kept in the books, and revoked.

The server is slow, cuts off, or is away, also when a session ends; operators die around any step
of an order. All else that `judge.py` asks for holds as well.
"""

import os
from unittest import mock

import pytest
from tests.simulation.story import story_of, with_acme_troubles
from tests.simulation.world import run_story

from spawnai.controller.actions import certificates
from spawnai.controller.actions.certificates import CertificateResource

SEEDS = max(40, int(os.environ.get("SPAWNAI_SEEDS", "500")) // 25)


def violation_of(seed: int) -> str | None:
    return run_story(with_acme_troubles(story_of(seed)), certificates=True).violation


@pytest.mark.slow
@pytest.mark.timeout(max(300, 5 * SEEDS))
def test_no_story_goes_wrong():
    assert {seed: wrong for seed in range(SEEDS) if (wrong := violation_of(seed))} == {}


def a_story_goes_wrong(seeds, words: str) -> bool:
    return any(words in (violation_of(seed) or "") for seed in seeds)


async def _claims_to_have_revoked(*_) -> bool:
    return True


def test_a_certificate_that_nobody_revokes_is_noticed():
    with mock.patch.object(CertificateResource, "delete", _claims_to_have_revoked):
        assert a_story_goes_wrong(range(5), "was not revoked")


def test_an_end_that_waits_for_a_server_that_is_away_is_noticed():
    with mock.patch.object(certificates, "REVOKED_WITHIN_SECONDS", float("inf")):
        assert a_story_goes_wrong((30, 42, 107), "for its certificate's revocation")
