import socket
import subprocess
import sys
from ipaddress import IPv4Address

from spawnai_local.address_block import claim_address_block, first_bindable_port

CLAIM_AND_WAIT = """
import sys
from spawnai_local.address_block import claim_address_block
block = claim_address_block()
print(block.network, flush=True)
sys.stdin.read()
"""


def test_two_claims_never_get_the_same_block():
    with claim_address_block() as first, claim_address_block() as second:
        assert not first.network.overlaps(second.network)


def test_a_block_given_back_is_claimed_again():
    with claim_address_block() as first:
        network = first.network
    with claim_address_block() as second:
        assert second.network == network


def test_a_killed_process_gives_its_block_back():
    with subprocess.Popen(
        [sys.executable, "-c", CLAIM_AND_WAIT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        network = other.stdout.readline().strip()
        with claim_address_block() as ours:
            assert str(ours.network) != network
            other.kill()
            other.wait()
            with claim_address_block() as freed:
                assert {str(ours.network), str(freed.network)} >= {network}


def test_a_port_that_a_server_has_is_passed_over():
    address = IPv4Address("127.250.0.1")
    with socket.create_server((str(address), 0)) as server, socket.create_server(("", 0)) as other:
        taken, taken_everywhere = server.getsockname()[1], other.getsockname()[1]
        with socket.socket() as probe:
            probe.bind((str(address), 0))
            free = probe.getsockname()[1]
        assert first_bindable_port(address, (taken, taken_everywhere, free)) == free
        assert first_bindable_port(address, (taken,)) is None
