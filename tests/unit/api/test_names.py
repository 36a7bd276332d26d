"""The names of what is made outside."""

import re

import pytest

from spawnai.api.names import session_host_label

UID = "7f3a0c52-0d3c-4b5e-9a52-0c2f6b1f6a11"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("retro-board", "retro-board-7f3a0c52"),
        ("shop.v2", "shop-v2-7f3a0c52"),
        ("xn--80ak6aa92e", "app-xn--80ak6aa92e-7f3a0c52"),
        ("xn..evil", "app-xn--evil-7f3a0c52"),
        ("ab--cd", "app-ab--cd-7f3a0c52"),
        ("n" * 253, "n" * 54 + "-7f3a0c52"),
        ("xn--" + "n" * 249, "app-xn--" + "n" * 46 + "-7f3a0c52"),
    ],
)
def test_a_host_label_is_no_internationalised_name(name, label):
    made = session_host_label(name, UID)
    assert made == label
    assert len(made) <= 63
    assert re.fullmatch("[a-z0-9]([-a-z0-9]*[a-z0-9])?", made)
    assert made[2:4] != "--"
