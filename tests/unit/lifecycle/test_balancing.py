"""A session's load balancer: ordered beside the droplet, told of honestly, gone before it."""

from decimal import Decimal

from life import Life, an_offer

from spawnai.api.record import ResourceKind
from spawnai.api.session import Phase
from spawnai.billing import ledger as books
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.balancing import ERRORED, TAKES_MINUTES
from spawnai.lifecycle.observation import FailureKind

BALANCED = {"exposure": {"mode": "LoadBalancer", "domain": "spawn-ai.test"}}
READY = "LoadBalancerReady"


def a_life() -> Life:
    return Life(offer=an_offer(**BALANCED))


def while_it_is_new() -> Life:
    """DigitalOcean makes it, and all else is done meanwhile."""
    life = a_life()
    life.failing["AwaitLoadBalancer"] = lambda _: life.fail(FailureKind.TRANSIENT, "NotYet")
    return life.settle()


def deletions(life: Life) -> list[ResourceKind]:
    return [action.line.kind for action in life.done if isinstance(action, do.Delete)]


def test_a_session_gets_a_load_balancer_a_firewall_and_a_name_that_leads_to_it():
    life = a_life().settle()
    assert life.status.phase is Phase.RUNNING
    assert life.status.url.startswith("https://retro-board-")
    [name] = life.record.in_use(ResourceKind.DOMAIN_RECORD)
    assert name.ip == life.balancer_ip
    assert life.record.in_use(ResourceKind.FIREWALL), "whatever the class's firewall mode"
    assert {one.kind for one in life.record.spec.planned} == {
        ResourceKind.DROPLET,
        ResourceKind.LOAD_BALANCER,
        ResourceKind.FIREWALL,
        ResourceKind.DOMAIN_RECORD,
    }
    assert life.condition(READY) == ("True", "Active")
    assert "CreateCertificate" not in life.kinds_done()


def test_the_app_is_installed_while_the_load_balancer_is_made_and_the_status_says_so():
    life = while_it_is_new()
    assert "DeployApp" in life.kinds_done()
    assert life.status.phase is Phase.DEPLOYING
    assert life.status.message == TAKES_MINUTES
    assert life.condition(READY) == ("False", "Balancing")
    assert "CreateDomainRecord" not in life.kinds_done(), "there is no address to lead to"


def test_one_that_takes_minutes_ends_in_a_running_app():
    life = while_it_is_new().pass_time(minutes=3)
    assert life.status.ready_at is None
    life.failing.clear()
    life.pass_time(seconds=2)
    assert life.status.phase is Phase.RUNNING


def test_one_that_digitalocean_could_not_make_is_deleted_and_made_again():
    life = a_life()
    life.failing["AwaitLoadBalancer"] = lambda _: life.fail(FailureKind.TRANSIENT, ERRORED)
    life.held.add("VerifyLoadBalancer")
    life.settle()
    assert deletions(life) == [ResourceKind.LOAD_BALANCER]
    assert life.kinds_done().count("CreateLoadBalancer") == 1, "its name is not free yet"
    life.failing.clear()
    life.held.clear()
    life.book(
        lambda book: books.with_gone(book, ResourceKind.LOAD_BALANCER, "balancer-1", life.now)
    )
    life.settle()
    assert life.kinds_done().count("CreateLoadBalancer") == 2
    assert life.status.phase is Phase.RUNNING


def test_an_account_without_room_for_one_is_said_so_and_waited_for():
    life = a_life()
    life.failing["CreateLoadBalancer"] = lambda _: life.fail(
        FailureKind.OVER_QUOTA, message="load balancer limit"
    )
    life.settle()
    assert life.condition(READY) == ("False", "WaitingForLoadBalancerLimit")
    assert "load balancer limit" in life.status.message
    life.failing.clear()
    assert life.pass_time(seconds=10).status.phase is Phase.RUNNING


def test_a_lost_answer_is_looked_for_by_name_before_another_one_is_ordered():
    life = a_life()
    life.failing["CreateLoadBalancer"] = lambda _: life.fail(FailureKind.AMBIGUOUS)
    life.finds["FindLoadBalancer"] = lambda: life.note(ResourceKind.LOAD_BALANCER, "found")
    life.settle()
    life.failing.clear()
    life.pass_time(seconds=5)
    assert life.kinds_done().count("CreateLoadBalancer") == 1
    assert life.status.phase is Phase.RUNNING


def test_it_goes_after_its_name_and_before_its_droplet():
    life = a_life().settle()
    life.held.add("DeleteDomainRecord")
    life.change(deleting=True)
    assert deletions(life) == [ResourceKind.DOMAIN_RECORD]
    life.held.clear()
    life.efforts.pop(life.key("DeleteDomainRecord"))
    life.settle()
    assert deletions(life)[1:] == [
        ResourceKind.DOMAIN_RECORD,
        ResourceKind.LOAD_BALANCER,
        ResourceKind.DROPLET,
        ResourceKind.FIREWALL,
    ]
    assert life.session is None


def test_a_busy_load_balancer_does_not_keep_the_droplet_running():
    life = a_life().settle()
    life.failing["DeleteLoadBalancer"] = lambda _: life.fail(FailureKind.TRANSIENT, "Busy")
    life.change(deleting=True)
    assert ResourceKind.DROPLET in deletions(life)
    assert life.session is not None
    life.failing.clear()
    assert life.pass_time(seconds=2).session is None


def test_a_name_that_may_exist_keeps_its_load_balancer_and_no_droplet():
    life = a_life()
    life.failing["CreateDomainRecord"] = lambda _: life.fail(FailureKind.AMBIGUOUS)
    life.settle().change(deleting=True)
    assert deletions(life) == [ResourceKind.DROPLET, ResourceKind.FIREWALL]
    assert life.session is not None
    life.failing.clear()
    life.pass_time(minutes=3)
    assert deletions(life)[2:] == [ResourceKind.LOAD_BALANCER]
    assert life.session is None


def test_a_young_name_that_answers_404_keeps_its_load_balancer_and_no_droplet():
    life = a_life().settle()
    assert life.record is not None
    [name] = life.record.living(ResourceKind.DOMAIN_RECORD)
    life.held = {"DeleteDomainRecord"}
    life.missing = frozenset({(name.kind, name.id)})
    life.change(deleting=True)
    assert ResourceKind.DROPLET in deletions(life)
    assert ResourceKind.LOAD_BALANCER not in deletions(life)


def test_a_load_balancer_that_may_exist_keeps_no_droplet_running():
    life = a_life()
    life.failing["CreateLoadBalancer"] = lambda _: life.fail(FailureKind.AMBIGUOUS)
    life.settle().change(deleting=True)
    assert ResourceKind.DROPLET in deletions(life)
    assert life.session is not None


def test_its_price_is_in_the_estimate():
    direct = Life(offer=an_offer(exposure={"domain": "spawn-ai.test"})).settle()
    balanced = a_life().settle()
    more = Decimal(balanced.status.cost.hourly) - Decimal(direct.status.cost.hourly)
    assert more == Decimal("0.01786")
    assert Decimal(balanced.status.cost.estimated) > Decimal(direct.status.cost.estimated)


def test_one_that_somebody_deletes_loses_its_name_at_once_and_another_one_is_made():
    life = a_life().settle()
    [name], url = life.record.in_use(ResourceKind.DOMAIN_RECORD), life.status.url
    life.failing["AwaitLoadBalancer"] = lambda _: life.fail(FailureKind.TRANSIENT, "NotYet")
    [line] = life.record.in_use(ResourceKind.LOAD_BALANCER)
    life.book(lambda book: books.with_gone(book, line.kind, line.id, life.now))
    life.settle()
    assert [action.line.id for action in life.done if isinstance(action, do.Delete)] == [name.id]
    assert life.kinds_done().count("CreateLoadBalancer") == 2
    assert life.condition("Ready") == ("False", "NetworkPath")
    assert "another one is made" in life.status.message.lower()
    life.failing.clear()
    life.balancer_ip = "203.0.113.98"
    life.pass_time(seconds=30)
    [name] = life.record.in_use(ResourceKind.DOMAIN_RECORD)
    assert name.ip == life.balancer_ip
    assert (life.condition("Ready"), life.status.url) == (("True", "Running"), url)
    assert life.kinds_done().count("CreateDroplet") == 1


def test_a_restart_before_the_session_is_ready_goes_on_with_the_same_load_balancer():
    life = while_it_is_new().restart()
    life.failing.clear()
    life.settle().pass_time(minutes=3)
    assert life.kinds_done().count("CreateLoadBalancer") == 1
    assert life.status.phase is Phase.RUNNING
