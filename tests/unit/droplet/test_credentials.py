import hashlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from spawnai.droplet.credentials import derive_credentials

MASTER_KEY = b"test-master-key-of-32-bytes-long"
UID = "0f0e0d0c-0b0a-0908-0706-050403020100"
CREATED = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)


def test_the_same_session_always_gets_the_same_bytes():
    assert derive_credentials(MASTER_KEY, UID, CREATED) == derive_credentials(
        MASTER_KEY, UID, CREATED
    )


def test_the_same_moment_in_another_time_zone_is_the_same_session():
    elsewhere = CREATED.astimezone(timezone(timedelta(hours=5)))
    assert derive_credentials(MASTER_KEY, UID, elsewhere) == derive_credentials(
        MASTER_KEY, UID, CREATED
    )


@pytest.mark.parametrize(
    ("master_key", "uid", "created"),
    [
        (MASTER_KEY[::-1], UID, CREATED),
        (MASTER_KEY, UID.replace("0f", "1f"), CREATED),
        # The same name applied again has another UID; a restored cluster might not.
        (MASTER_KEY, UID, CREATED + timedelta(seconds=1)),
    ],
)
def test_any_other_session_or_installation_gets_others(master_key, uid, created):
    ours = derive_credentials(MASTER_KEY, UID, CREATED)
    others = derive_credentials(master_key, uid, created)
    assert others.token != ours.token
    assert others.private_key_pem != ours.private_key_pem
    assert others.certificate_pem != ours.certificate_pem


def test_the_certificate_belongs_to_the_key_and_outlives_every_session():
    credentials = derive_credentials(MASTER_KEY, UID, CREATED)
    certificate = x509.load_pem_x509_certificate(credentials.certificate_pem.encode())
    key = load_pem_private_key(credentials.private_key_pem.encode(), password=None)
    assert certificate.public_key() == key.public_key()
    assert certificate.not_valid_before_utc < CREATED
    assert certificate.not_valid_after_utc > CREATED + timedelta(days=365)
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.value.ca is False


def test_the_token_is_long_and_its_hash_is_what_the_droplet_gets():
    credentials = derive_credentials(MASTER_KEY, UID, CREATED)
    assert len(credentials.token) >= 43  # 32 bytes in base64
    assert credentials.token_sha256 == hashlib.sha256(credentials.token.encode()).hexdigest()


def test_nothing_of_it_can_be_seen_in_a_log():
    credentials = derive_credentials(MASTER_KEY, UID, CREATED)
    shown = f"{credentials} {credentials!r} {[credentials]}"
    assert credentials.token not in shown
    assert "PRIVATE" not in shown


@pytest.mark.parametrize(
    ("master_key", "uid", "created", "message"),
    [
        (b"short", UID, CREATED, "at least 32"),
        (MASTER_KEY, "", CREATED, "UID is empty"),
        (MASTER_KEY, UID, CREATED.replace(tzinfo=None), "no time zone"),
    ],
)
def test_what_would_make_weak_credentials_is_refused(master_key, uid, created, message):
    with pytest.raises(ValueError, match=message) as refusal:
        derive_credentials(master_key, uid, created)
    assert "short" not in str(refusal.value).replace("shorter", "")
