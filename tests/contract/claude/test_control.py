"""The simulator's own control API: faults by line, calls, the bill, speed."""

import re
from pathlib import Path

import httpx
import pytest

from spawnai.generation.errors import GenerationError
from spawnai_local.claude.faults import FAULTS, Fault, marked

MANUAL = Path(__file__).parents[3] / "docs" / "claude-simulator.md"


@pytest.fixture
async def control(simulator):
    async with httpx.AsyncClient(base_url=f"{simulator.url}/_local", timeout=10) as http:
        yield http


class TestFaults:
    async def test_the_nth_call_suffers_and_no_other(self, workbench, control):
        added = await control.post("/faults", content="no-credit nth=2\n")
        assert added.status_code == 201
        await workbench.generate("One")
        with pytest.raises(GenerationError):
            await workbench.generate("Two")
        await workbench.generate("Three")
        outcomes = [call.outcome for call in workbench.simulator.calls()]
        assert outcomes == ["complete", "invalid_request_error", "complete"]

    async def test_a_fault_may_be_for_one_session_or_one_app_type(self, workbench, control):
        lines = "no-credit session=someone-else times=0\nno-credit app_type=api times=0"
        await control.post("/faults", content=lines)
        await workbench.generate("A page")
        with pytest.raises(GenerationError):
            await workbench.generate("An API", "api")
        with pytest.raises(GenerationError):
            await workbench.generate("A page", user_id="someone-else")

    async def test_json_says_the_same_as_a_line(self, control):
        await control.post("/faults", json=[{"name": "slow", "nth": 3}, "slow nth=3"])
        first, second = (await control.get("/faults")).json()["faults"]
        assert first == second

    async def test_they_are_counted_and_cleared(self, workbench, control):
        await control.post("/faults", content="slow")
        await workbench.generate("One")
        await workbench.generate("Two")
        [fault] = (await control.get("/faults")).json()["faults"]
        assert (fault["matched"], fault["suffered"]) == (2, 1)
        assert (await control.delete("/faults")).status_code == 204
        assert (await control.get("/faults")).json() == {"faults": []}

    @pytest.mark.parametrize("line", ["nonsense", "slow nth", "slow wrong=1", "slow nth=x", "{"])
    async def test_what_is_no_fault_is_refused_with_a_reason(self, control, line):
        response = await control.post("/faults", content=line)
        assert response.status_code == 400
        assert response.json()["error"]


class TestMarkers:
    def test_always_once_and_twice(self):
        assert marked("A board simulate:slow", 5) == ["slow"]
        assert [marked("simulate:hang-once", calls) for calls in range(3)] == [["hang"], [], []]
        assert [marked("simulate:hang-twice", n) for n in range(3)] == [["hang"], ["hang"], []]

    def test_several_in_one_prompt(self):
        prompt = "A board simulate:slow, simulate:syntax-error-once."
        assert marked(prompt, 0) == ["slow", "syntax-error"]

    def test_other_words_are_no_faults(self):
        assert marked("please simulate: rain, simulate:weather and simulate:slowly", 0) == []

    @pytest.mark.parametrize("name", FAULTS)
    def test_every_fault_can_be_asked_for(self, name):
        assert marked(f"simulate:{name}", 0) == [name]
        assert Fault.parse(name).name == name


class TestBill:
    async def test_is_kept_for_each_session_and_model(self, workbench, control):
        await workbench.generate("One", user_id="first")
        await workbench.generate("Two", user_id="second", model="claude-haiku-5-5")
        await workbench.generate("Three", user_id="second")
        bill = (await control.get("/bill")).json()
        assert bill["calls"] == 3
        assert {name: part["calls"] for name, part in bill["sessions"].items()} == {
            "first": 1,
            "second": 2,
        }
        assert {name: part["calls"] for name, part in bill["models"].items()} == {
            "claude-haiku-5-5": 1,
            "claude-sonnet-5-5": 2,
        }
        parts = bill["sessions"].values()
        assert sum(part["output_tokens"] for part in parts) == bill["output_tokens"]
        second = (await control.get("/bill", params={"session": "second"})).json()
        assert second == bill["sessions"]["second"]

    async def test_calls_are_listed_and_cleared(self, workbench, control):
        await workbench.generate("One simulate:syntax-error-once")
        first, repair = (await control.get("/calls")).json()["calls"]
        assert (first["faults"], first["repair"]) == (["syntax-error"], False)
        assert (repair["faults"], repair["repair"]) == ([], True)
        assert (first["outcome"], first["stop_reason"]) == ("complete", "end_turn")
        none = (await control.get("/calls", params={"session": "other"})).json()
        assert none == {"calls": []}
        await control.delete("/calls")
        assert (await control.get("/bill")).json()["calls"] == 0

    async def test_no_prompt_is_kept(self, workbench, control):
        await workbench.generate("A very secret plan")
        assert "secret plan" not in (await control.get("/calls")).text


class TestSettings:
    async def test_speed_can_be_changed_while_it_runs(self, control, simulator):
        response = await control.put("/settings", json={"tokens_per_second": 5})
        assert response.json()["tokens_per_second"] == 5
        assert simulator.settings.tokens_per_second == 5
        assert (await control.get("/settings")).json() == response.json()

    @pytest.mark.parametrize(
        "wanted", [{"api_key": "x"}, {"tokens_per_second": -1}, {"seed": True}, [], {"x": 1}]
    )
    async def test_what_cannot_be_set_is_refused(self, control, wanted):
        response = await control.put("/settings", json=wanted)
        assert response.status_code == 400


def test_the_manual_names_every_fault_with_its_meaning():
    rows = dict(
        re.findall(r"^\| `([a-z-]+)` \| (.+?) \|$", MANUAL.read_text("utf-8"), re.MULTILINE)
    )
    assert {name: rows.get(name) for name in FAULTS} == dict(FAULTS)


def test_the_manual_names_every_path_of_the_control_api():
    text = MANUAL.read_text("utf-8")
    for path in ("/_local/calls", "/_local/bill", "/_local/faults", "/_local/settings"):
        assert path in text
