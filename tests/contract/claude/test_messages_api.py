"""The simulated Messages API, as Anthropic's own SDK and plain HTTP see it."""

import json

import anthropic
import httpx
import pytest

from spawnai.generation.claude import open_client
from spawnai.generation.prompts import order_message, system_prompt
from spawnai.generation.schemas import answer_schema
from spawnai_local.claude import ClaudeSimulator
from spawnai_local.claude.settings import DEFAULT_API_KEY, NO_CREDIT_API_KEY, REPEATED_API_KEY

MODEL = "claude-sonnet-5-5"
ANSWER_SCHEMA = answer_schema("webapp")
FORMAT = {"type": "json_schema", "schema": ANSWER_SCHEMA}


@pytest.fixture
async def client(simulator):
    client = open_client(DEFAULT_API_KEY, simulator.url)
    yield client
    await client.close()


@pytest.fixture
async def http(simulator):
    headers = {"x-api-key": DEFAULT_API_KEY, "anthropic-version": "2026-10-21"}
    async with httpx.AsyncClient(base_url=simulator.url, headers=headers, timeout=10) as http:
        yield http


def body(**changes):
    usual = {
        "model": MODEL,
        "max_tokens": 16000,
        "messages": [{"role": "user", "content": order_message("Retro board", "webapp")}],
        "output_config": {"effort": "low", "format": FORMAT},
    }
    return {name: value for name, value in (usual | changes).items() if value is not None}


def events(text: str) -> list[dict]:
    found = []
    for block in text.strip().split("\n\n"):
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    return found


class TestStream:
    async def test_has_the_events_of_the_real_one_in_their_order(self, http):
        response = await http.post("/v1/messages", json=body(stream=True))
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["request-id"].startswith("req_")
        kinds = [event["type"] for event in events(response.text)]
        deltas = kinds.count("content_block_delta")
        assert deltas > 3
        assert kinds == [
            "message_start",
            *("content_block_start", "content_block_delta", "content_block_stop"),
            "ping",
            "content_block_start",
            *["content_block_delta"] * (deltas - 1),
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]

    async def test_holds_a_whole_answer_and_its_usage(self, http, simulator):
        response = await http.post("/v1/messages", json=body(stream=True))
        found = events(response.text)
        text = "".join(
            event["delta"]["text"]
            for event in found
            if event["type"] == "content_block_delta" and event["delta"]["type"] == "text_delta"
        )
        assert set(json.loads(text)) == set(ANSWER_SCHEMA["required"])
        start, end = found[0]["message"], found[-2]
        assert start["stop_reason"] is None
        assert start["usage"]["input_tokens"] > 0
        assert end["delta"]["stop_reason"] == "end_turn"
        assert end["usage"]["output_tokens"] == simulator.bill().output_tokens

    async def test_is_read_by_the_sdks_own_helper(self, client):
        async with client.messages.stream(
            model=MODEL,
            max_tokens=16000,
            messages=[{"role": "user", "content": order_message("Notes", "api")}],
            output_config={"format": FORMAT},
        ) as stream:
            message = await stream.get_final_message()
        assert message.stop_reason == "end_turn"
        assert [block.type for block in message.content] == ["thinking", "text"]

    async def test_comes_at_the_set_speed(self, http, simulator):
        simulator.settings = simulator.settings.changed(
            {"tokens_per_second": 1000, "first_token_seconds": 0.2}
        )
        await http.post("/v1/messages", json=body(stream=True))
        [call] = simulator.calls()
        assert call.seconds >= 0.2 + (call.output_tokens - 200) / 1000


async def test_an_answer_in_one_piece_has_the_same_text_and_usage(client):
    def ask(**changes):
        return client.messages.create(**body(**changes))

    message = await ask()
    [block] = message.content
    assert set(json.loads(block.text)) == set(ANSWER_SCHEMA["required"])
    assert (message.stop_reason, message.model) == ("end_turn", MODEL)
    assert message.usage.output_tokens > 100


async def test_without_a_schema_it_just_talks(client):
    message = await client.messages.create(**body(output_config=None))
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(message.content[0].text)


async def test_the_same_seed_gives_the_same_answers():
    async def texts() -> list[str]:
        async with ClaudeSimulator() as simulator:
            simulator.settings = simulator.settings.changed(
                {"tokens_per_second": 0, "first_token_seconds": 0}
            )
            client = open_client(DEFAULT_API_KEY, simulator.url)
            message = await client.messages.create(**body())
            await client.close()
            return [message.id, message.content[0].text]

    assert await texts() == await texts()


class TestKeys:
    @pytest.mark.parametrize(
        "headers",
        [{"x-api-key": DEFAULT_API_KEY}, {"authorization": f"Bearer {DEFAULT_API_KEY}"}],
    )
    async def test_either_header_is_taken(self, simulator, headers):
        async with httpx.AsyncClient(base_url=simulator.url, headers=headers) as http:
            assert (await http.get("/v1/models")).status_code == 200

    @pytest.mark.parametrize(
        "headers", [{}, {"x-api-key": "wrong"}, {"authorization": "Bearer wrong"}]
    )
    @pytest.mark.parametrize("path", ["/v1/models", "/v1/models/claude-sonnet-5-5"])
    async def test_without_the_right_one_the_answer_is_401(self, simulator, headers, path):
        async with httpx.AsyncClient(base_url=simulator.url, headers=headers) as http:
            response = await http.get(path)
        assert response.status_code == 401
        assert response.json()["error"]["type"] == "authentication_error"
        assert response.json()["request_id"] == response.headers["request-id"]


async def test_a_refusal_may_repeat_the_wrong_key_as_that_of_a_proxy_might(simulator):
    client = open_client(REPEATED_API_KEY, simulator.url)
    with pytest.raises(anthropic.AuthenticationError, match=REPEATED_API_KEY):
        await client.models.retrieve(MODEL)
    await client.close()


async def test_without_credit_only_what_costs_something_is_refused(simulator):
    client = open_client(NO_CREDIT_API_KEY, simulator.url)
    assert (await client.models.retrieve(MODEL)).id == MODEL
    with pytest.raises(anthropic.BadRequestError, match="credit balance"):
        await client.messages.create(**body())
    await client.close()


class TestModels:
    async def test_are_listed_as_the_sdk_expects(self, client):
        models = [model async for model in client.models.list()]
        assert MODEL in [model.id for model in models]
        assert {model.lifecycle for model in models} == {"active"}

    async def test_one_is_found_or_not(self, client):
        assert (await client.models.retrieve(MODEL)).max_tokens == 128_000
        with pytest.raises(anthropic.NotFoundError):
            await client.models.retrieve("claude-nothing")


async def test_tokens_are_counted_as_they_are_billed(client, simulator):
    system = system_prompt("webapp", 16_000)
    messages = [{"role": "user", "content": order_message("Retro board", "webapp")}]
    counted = await client.messages.count_tokens(model=MODEL, messages=messages, system=system)
    await client.messages.create(**body(system=system))
    assert abs(counted.input_tokens - simulator.bill().input_tokens) <= 1


class TestRefusedRequests:
    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"model": None}, "model"),
            ({"max_tokens": None}, "max_tokens"),
            ({"messages": []}, "messages"),
            ({"max_tokens": 0}, "max_tokens"),
            ({"max_tokens": 200_000}, "max_tokens"),
            ({"temperature": 1}, "temperature"),
            ({"top_p": 0.9}, "top_p"),
            ({"top_k": 5}, "top_k"),
            ({"thinking": {"type": "disabled"}}, "thinking"),
            ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, "thinking"),
            ({"tool_choice": {"type": "any"}}, "tool_choice"),
            ({"tool_choice": {"type": "tool", "name": "x"}}, "tool_choice"),
            ({"output_format": FORMAT}, "output_format"),
            ({"nonsense": 1}, "nonsense"),
            ({"metadata": {"name": "Ada"}}, "metadata"),
            ({"output_config": {"effort": "enormous"}}, "effort"),
            ({"output_config": {"format": {"type": "json_object"}}}, "json_schema"),
            ({"output_config": {"format": {"type": "json_schema"}}}, "schema"),
            (
                {"output_config": {"format": FORMAT | {"schema": {"type": "object"}}}},
                "additionalProperties",
            ),
            (
                {
                    "output_config": {
                        "format": FORMAT | {"schema": {"type": "string", "maxLength": 5}}
                    }
                },
                "maxLength",
            ),
            (
                {
                    "messages": [
                        {"role": "user", "content": "Write"},
                        {"role": "assistant", "content": "{"},
                    ]
                },
                "prefill",
            ),
        ],
    )
    async def test_get_a_400_that_names_what_is_wrong_and_cost_nothing(
        self, http, simulator, changes, said
    ):
        response = await http.post("/v1/messages", json=body(**changes))
        assert response.status_code == 400
        error = response.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert said in error["message"]
        assert simulator.calls() == []

    async def test_an_unknown_model_is_404(self, http):
        response = await http.post("/v1/messages", json=body(model="claude-nothing"))
        assert response.status_code == 404
        assert response.json()["error"]["type"] == "not_found_error"

    async def test_a_missing_version_or_json_is_400(self, http):
        old = await http.post("/v1/messages", json=body(), headers={"anthropic-version": "1"})
        assert old.status_code == 400
        assert (await http.post("/v1/messages", content="{")).status_code == 400
        assert (await http.post("/v1/messages", content="[]")).status_code == 400
