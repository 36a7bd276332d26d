"""The page, the console and the plugin read fields that there are.

They read JSON, so a field that was renamed in the API would be found by nobody but their users.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.field_reads import CONDITION, Reads, Roots, lacks, reads_of

from spawnai.admission.budgets import Book
from spawnai.admission.places import Place
from spawnai.api.budget import BudgetSpec
from spawnai.api.conditions import ConditionType
from spawnai.api.spawnclass import ClassSpec
from spawnai.console.me import MeAnswer, Rights
from spawnai.console.models import ConditionAnswer, EndedSession, SessionAnswer
from spawnai.controller.actions.deploy import APP_FAILURES
from spawnai.controller.admission import Outlook
from spawnai.controller.door.offers import offer_document
from spawnai.generation.errors import GenerationInvalid, GenerationRefused, GenerationTruncated
from spawnai.lifecycle.inspection import PAGE_BROKEN
from spawnai.lifecycle.replacing import LOST
from spawnai_local.paths import checkout

PLUGIN = checkout() / "kubectl_spawn" / "src" / "kubectl_spawn"
CONSOLE = checkout() / "operator" / "spawnai" / "console"
PAGE = CONSOLE / "page"

SESSION = ("SpawnSession",)
APP = {
    "document": SESSION,
    "status": (*SESSION, "status"),
    "spec": (*SESSION, "spec"),
    "revisions": (*SESSION, "status", "revisions"),
}
CONDITIONS = {"condition": CONDITION, "conditions": CONDITION[:-1], "checks": CONDITION[:-1]}
OTHERS = {"budgets_command": "SpawnBudget", "classes_command": "SpawnClass"}


def plugin_reads(module: Path) -> Reads:
    kind = OTHERS.get(module.stem, "SpawnSession")
    names = {**CONDITIONS, "spawn_class": ("SpawnClass",)}
    source = module.read_text()
    if module.stem == "history":
        # What the console tells of ended sessions is no object of the API server.
        source, receipt = re.split(r"(?m)^(?=@dataclass.*\nclass Receipt)", source)
        told = reads_of(receipt, Roots({"document": ("EndedSession",)}, {}, ("EndedSession",)))
        kept = reads_of(source, Roots(APP, names, SESSION))
        return Reads(told.fields | kept.fields, told.conditions | kept.conditions)
    return reads_of(source, Roots(APP, names, (kind,)))


def console_reads(module: Path) -> Reads:
    return reads_of(module.read_text(), Roots({}, {"document": SESSION, "price": PRICE}, SESSION))


PRICE = (*SESSION, "status", "cost", "price")


@cache
def schemas() -> Mapping[str, Any]:
    found: dict[str, Any] = {"EndedSession": EndedSession.model_json_schema(by_alias=True)}
    for file in (checkout() / "crds").glob("spawn*.yaml"):
        crd = yaml.safe_load(file.read_text())
        (version,) = crd["spec"]["versions"]
        found[crd["spec"]["names"]["kind"]] = version["schema"]["openAPIV3Schema"]
    return found


def unknown(reads: Reads) -> list[str]:
    fields = [".".join(path) for path in reads.fields if lacks(schemas()[path[0]], path[1:])]
    return sorted(fields) + sorted(reads.conditions - {str(one) for one in ConditionType})


MODULES = [*sorted(PLUGIN.rglob("*.py")), CONSOLE / "models.py"]


@pytest.mark.parametrize("module", MODULES, ids=lambda one: one.stem)
def test_what_is_read_of_an_object_is_in_its_schema(module):
    reads = console_reads(module) if module.is_relative_to(CONSOLE) else plugin_reads(module)
    assert unknown(reads) == []


def test_the_reads_are_found():
    """So that the test above does not hold by finding nothing."""
    plugin = set().union(*(plugin_reads(one).fields for one in PLUGIN.rglob("*.py")))
    console = console_reads(CONSOLE / "models.py").fields
    in_both = {
        "SpawnSession.status.cost.hourly",
        "SpawnSession.status.cost.price.final",
        "SpawnSession.status.region",
        "SpawnSession.status.revisions",
        "SpawnSession.spec.prompt",
    }
    assert in_both <= {".".join(path) for path in console}
    assert in_both | {
        "SpawnSession.status.conditions.[].lastTransitionTime",
        "SpawnSession.status.droplet.ip",
        "SpawnSession.status.revisions.[].promptDigest",
        "SpawnClass.spec.lifetime.max",
        "SpawnClass.status.conditions.[].type",
        "SpawnBudget.status.left",
        "EndedSession.completedAt",
    } <= {".".join(path) for path in plugin}


def test_a_field_that_is_not_there_is_noticed():
    source = (
        "def f(app):\n"
        "    cost = app.status.get('cost') or {}\n"
        "    last = app.revisions[-1]\n"
        "    return cost.get('spent'), last['promptSha'], app.is_true('Redy'), [\n"
        "        one.get('kind') for one in app.status['conditions']\n"
        "    ]\n"
    )
    assert unknown(reads_of(source, Roots(APP, {}, SESSION))) == [
        "SpawnSession.status.conditions.[].kind",
        "SpawnSession.status.cost.spent",
        "SpawnSession.status.revisions.[].promptSha",
        "Redy",
    ]


# The page reads the console's answers, and two documents of the operator.


def names_of(model: Any) -> set[str]:
    return set(model.model_json_schema(by_alias=True)["properties"])


def keys_of(document: Any) -> set[str]:
    if isinstance(document, list):
        return set().union(*map(keys_of, document))
    if isinstance(document, dict):
        return set(document).union(*map(keys_of, document.values()))
    return set()


def offered() -> set[str]:
    """The fields of an offer, with all that one can have."""
    day = datetime(2026, 11, 29, tzinfo=UTC), datetime(2026, 11, 30, tzinfo=UTC)
    book = Book("team", BudgetSpec(limit="5"), *day)
    keys: set[str] = set()
    for model in ("Flat", "CostPlus"):
        document = offer_document(
            class_name="standard",
            spec=ClassSpec.model_validate({"pricing": {"model": model}}),
            prices={"s-1vcpu-1gb": Decimal("0.00893")},
            records=[],
            sessions=(),
            outlook=Outlook(3, 3, (book,), {"light": Place(1, 1, "dana has 3 of 3 running")}),
        )
        keys |= keys_of(document)
    return keys


def of_record(*path: str) -> set[str]:
    schema = schemas()["SpawnRecord"]
    for key in path:
        schema = schema["items"] if key == "[]" else schema["properties"][key]
    return set(schema["properties"])


OWN = {"sent", "sentAt", "endingSince"}
"""What the page itself notes of a session."""
ARRAYS_AND_ELEMENTS = {"replaceChildren", "length", "map", "find", "some", "filter", "reduce"}

READS = {
    "a session": (
        r"(?<![.\w])(?:session|first|hope|wanted|current\(\)|latest\(session\))",
        {"sessions.js", "session.js", "line.js", "money.js", "shelf.js", "tabs.js", "order.js"},
        names_of(SessionAnswer) | OWN | {"old"},
    ),
    "a condition": (
        r"(?<![.\w])(?:ready|stalled|failed|degraded|cleanup|admitted|unusual)",
        {"sessions.js", "session.js", "tabs.js"},
        names_of(ConditionAnswer),
    ),
    "the ledger": (r"(?<![.\w])receipt", {"session.js"}, of_record("status")),
    "its rows": (
        r"(?<![.\w])row",
        {"session.js"},
        of_record("status", "resources", "[]") | of_record("status", "generations", "[]"),
    ),
    "the offer": (
        r"(?:world\.offer|(?<![.\w])offer|offered|kind|known|terms|waits)",
        {"money.js", "order.js"},
        None,
    ),
    "an ended session": (r"(?<![.\w])one", {"receipts.js"}, names_of(EndedSession)),
    "a right": (r"\bmay", {path.name for path in PAGE.glob("*.js")}, names_of(Rights)),
    "the reader": (r"\bworld\.me", {"app.js", "frame.js", "sessions.js"}, names_of(MeAnswer)),
}


@pytest.mark.parametrize("what", READS)
def test_what_the_page_reads_is_told(what):
    objects, files, known = READS[what]
    known = offered() if known is None else known
    read = fields_read(objects, files)
    assert read
    assert read - ARRAYS_AND_ELEMENTS <= known


def fields_read(objects: str, files: Iterable[str]) -> set[str]:
    text = "\n".join((PAGE / name).read_text() for name in files)
    code = re.sub(r"(?m)//.*$|^import .*$|^} from .*$", "", text)
    return set(re.findall(rf"{objects}\??\.([a-zA-Z]\w*)", code))


def test_the_page_has_words_for_why_an_app_failed():
    words = set(re.findall(r"(?m)^  (\w+): \[", (PAGE / "words.js").read_text()))
    ends = {"ProvisioningDeadlineExceeded", "BudgetExceeded", PAGE_BROKEN, LOST}
    of_claude = GenerationRefused, GenerationTruncated, GenerationInvalid
    assert set(APP_FAILURES) | ends | {one.__name__ for one in of_claude} <= words


def test_the_conditions_that_the_page_asks_for_are_some():
    text = "\n".join(path.read_text() for path in PAGE.glob("*.js"))
    asked = set(re.findall(r"(?:condition|isTrue)\(\w+, '(\w+)'\)", text))
    asked |= set(re.findall(r"'(\w+)'", " ".join(re.findall(r"\bat\(([^)]*)\)", text))))
    assert "UpdateFailed" in asked
    assert asked <= {str(one) for one in ConditionType}
