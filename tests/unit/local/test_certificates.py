"""Every certificate that the local cloud and the operator's door make follows RFC 5280."""

import ssl
from datetime import UTC, datetime

import pytest
from cryptography import x509

from spawnai.controller.door.certificate import make_certificate
from spawnai_local.certificates import CertificateAuthority


@pytest.fixture
def authority(tmp_path) -> CertificateAuthority:
    return CertificateAuthority(tmp_path, "test")


def identifier(certificate: x509.Certificate) -> bytes:
    found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    assert not found.critical
    return found.value.digest


def test_certificates_name_their_own_key_and_their_authoritys(authority):
    root = x509.load_pem_x509_certificate(authority.certificate_path.read_bytes())
    for pair in (authority.issue_server("server", ["127.0.0.1"]), authority.issue_client("c", "c")):
        leaf = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        signer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        assert signer.key_identifier == identifier(root)
        assert identifier(leaf) != identifier(root)
    assert root.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_the_doors_own_certificate_says_that_others_are_checked_by_it():
    made = x509.load_pem_x509_certificate(make_certificate(datetime.now(UTC)).pem.encode())
    assert identifier(made)
    assert made.extensions.get_extension_for_class(x509.KeyUsage).critical


def test_a_context_as_python_makes_it_since_3_13_takes_them(authority):
    """A whole handshake in memory, with the flag on in every version."""
    pair = authority.issue_server("server", ["localhost"])
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(pair.certificate, pair.key)
    client_side = ssl.create_default_context(cafile=str(authority.certificate_path))
    client_side.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    done: set[ssl.SSLObject] = set()
    for _ in range(10):
        for side in (client, server):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                continue
    assert done == {client, server}
