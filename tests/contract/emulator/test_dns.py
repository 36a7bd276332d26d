"""The DNS server answers what the domains hold."""

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import pytest

RECORDS = "/v2/domains/example.com/records"


@pytest.fixture
async def domain(account):
    await account.post("/v2/domains", {"name": "example.com"})


async def add(account, **record):
    return (await account.post(RECORDS, {"ttl": 30, **record})).body["domain_record"]


@pytest.fixture
def ask(emulator):
    async def question(name, kind="A", *, over=dns.asyncquery.udp, **options):
        query = dns.message.make_query(name, kind, **options)
        answer = await over(query, "127.0.0.1", port=emulator.dns.port, timeout=5)
        return answer, sorted(str(item) for rrset in answer.answer for item in rrset)

    return question


@pytest.mark.parametrize("over", [dns.asyncquery.udp, dns.asyncquery.tcp])
async def test_an_address_is_answered_with_its_ttl_over_udp_and_tcp(account, domain, ask, over):
    await add(account, type="A", name="app", data="127.0.0.5")
    answer, data = await ask("APP.example.com", over=over)
    assert data == ["127.0.0.5"]
    assert answer.answer[0].ttl == 30
    assert answer.flags & dns.flags.AA


async def test_a_changed_and_a_deleted_record_show_at_once(account, domain, ask):
    record = await add(account, type="A", name="app", data="127.0.0.5")
    await account.put(f"{RECORDS}/{record['id']}", {"type": "A", "data": "127.0.0.6"})
    assert (await ask("app.example.com"))[1] == ["127.0.0.6"]
    await account.delete(f"{RECORDS}/{record['id']}")
    answer, data = await ask("app.example.com")
    assert (answer.rcode(), data) == (dns.rcode.NXDOMAIN, [])
    assert answer.authority[0].rdtype == dns.rdatatype.SOA


async def test_records_that_are_alike_are_one_answer_and_others_all_come(account, domain, ask):
    for data in ("127.0.0.5", "127.0.0.5", "127.0.0.6"):
        await add(account, type="A", name="app", data=data)
    assert (await ask("app.example.com"))[1] == ["127.0.0.5", "127.0.0.6"]


async def test_a_wildcard_answers_for_names_that_are_not_there(account, domain, ask):
    await add(account, type="A", name="*", data="127.0.0.7")
    await add(account, type="A", name="app", data="127.0.0.5")
    assert (await ask("anything.example.com"))[1] == ["127.0.0.7"]
    assert (await ask("a.b.example.com"))[1] == ["127.0.0.7"]
    assert (await ask("app.example.com"))[1] == ["127.0.0.5"]
    answer, data = await ask("app.example.com", "AAAA")
    assert (answer.rcode(), data) == (dns.rcode.NOERROR, [])


async def test_an_alias_is_followed_within_the_account(account, domain, ask):
    await add(account, type="CNAME", name="www", data="app.example.com.")
    await add(account, type="A", name="app", data="127.0.0.5")
    assert (await ask("www.example.com"))[1] == ["127.0.0.5", "app.example.com."]
    assert (await ask("www.example.com", "CNAME"))[1] == ["app.example.com."]


async def test_other_types_are_answered_too(account, domain, ask):
    await add(account, type="TXT", name="@", data='say "hi" ' + "x" * 300)
    await add(account, type="MX", name="@", data="mail.example.org.", priority=5)
    await add(account, type="CAA", name="@", data="ca.example.", flags=0, tag="issue")
    await add(account, type="AAAA", name="app", data="::1")
    await add(
        account, type="SRV", name="_a._tcp", data="b.example.com.", priority=1, weight=2, port=3
    )
    text = (await ask("example.com", "TXT", over=dns.asyncquery.tcp))[0].answer[0][0]
    assert b"".join(text.strings) == b'say "hi" ' + b"x" * 300
    assert (await ask("example.com", "MX"))[1] == ["5 mail.example.org."]
    assert (await ask("example.com", "CAA"))[1] == ['0 issue "ca.example"']
    assert (await ask("app.example.com", "AAAA"))[1] == ["::1"]
    assert (await ask("_a._tcp.example.com", "SRV"))[1] == ["1 2 3 b.example.com."]
    assert len((await ask("example.com", "NS"))[1]) == 3
    assert "hostmaster.example.com." in (await ask("example.com", "SOA"))[1][0]


async def test_domains_of_others_are_refused(account, domain, ask):
    answer, _ = await ask("example.org")
    assert answer.rcode() == dns.rcode.REFUSED


async def test_an_answer_too_large_for_udp_is_truncated_and_whole_over_tcp(account, domain, ask):
    for number in range(120):
        await add(account, type="A", name="many", data=f"127.0.1.{number}")
    answer, _ = await ask("many.example.com")
    assert answer.flags & dns.flags.TC
    assert len((await ask("many.example.com", over=dns.asyncquery.tcp))[1]) == 120


async def test_a_change_can_take_its_time_to_be_answered(account, domain, control, clock, ask):
    await control.set_delays(dns=10)
    await add(account, type="A", name="app", data="127.0.0.5")
    assert (await ask("app.example.com"))[0].rcode() == dns.rcode.NXDOMAIN
    clock.advance(10)
    assert (await ask("app.example.com"))[1] == ["127.0.0.5"]


async def test_a_datagram_that_is_no_question_is_left_unanswered(emulator):
    assert emulator.dns.answer(b"no DNS at all") is None
    response = dns.message.make_response(dns.message.make_query("example.com", "A"))
    assert emulator.dns.answer(response.to_wire()) is None
