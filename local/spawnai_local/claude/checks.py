"""Whether a request is one that the Messages API takes, and its errors when it is not.

Rules of the API version 2026-10-21 and of the 5.5 models: no sampling parameters, no assistant
prefill, thinking neither off nor with a budget, no forced tool, structured outputs through
output_config.format with a closed schema.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

API_VERSIONS = ("2023-06-01", "2026-10-21")
MAX_OUTPUT_TOKENS = 128_000
CONTEXT_TOKENS = 1_000_000
MAX_USER_ID_LENGTH = 256
EFFORTS = ("low", "medium", "high", "xhigh", "max")

MODELS: Mapping[str, str] = {
    "claude-sonnet-5-5": "Claude Sonnet 5.5",
    "claude-haiku-5-5": "Claude Haiku 5.5",
    "claude-opus-5-5": "Claude Opus 5.5",
    "claude-fable-5-2": "Claude Fable 5.2",
}

_PARAMETERS = frozenset(
    [
        *("model", "max_tokens", "messages", "system", "stream", "metadata", "output_config"),
        *("stop_sequences", "thinking", "tool_choice", "tools", "service_tier", "cache_control"),
        *("container", "diagnostics", "inference_geo", "speed"),
    ]
)
_SAMPLING = ("temperature", "top_p", "top_k")
# JSON Schema that structured outputs do not accept.
_UNSUPPORTED = frozenset(
    [
        *("minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
        *("multipleOf", "maxItems", "uniqueItems", "patternProperties", "oneOf", "not", "if"),
    ]
)


@dataclass(eq=False)
class ApiError(Exception):
    """An answer that is an error, in the API's own terms."""

    status: int
    type: str
    message: str
    error_code: str | None = None
    retry_after_seconds: float | None = None

    def document(self, request_id: str) -> dict[str, Any]:
        """The error's body."""
        error: dict[str, Any] = {"type": self.type, "message": self.message}
        if self.error_code is not None:
            error["details"] = {"error_code": self.error_code}
        return {"type": "error", "error": error, "request_id": request_id}


def invalid(message: str) -> ApiError:
    """A 400 for a request that is not right."""
    return ApiError(400, "invalid_request_error", message)


def check_request(body: Mapping[str, Any]) -> None:
    """Accept the body of POST /v1/messages.

    Raises:
        ApiError: the real API would refuse it.
    """
    for name in ("model", "max_tokens", "messages"):
        if name not in body:
            raise invalid(f"{name}: Field required")
    for name in _SAMPLING:
        if name in body:
            raise invalid(f"{name}: Sampling parameters are not supported")
    for name in body:
        if name not in _PARAMETERS:
            raise invalid(f"{name}: Extra inputs are not permitted")
    if body["model"] not in MODELS:
        raise ApiError(404, "not_found_error", f"model: {body['model']}")
    limit = body["max_tokens"]
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise invalid("max_tokens: Input should be greater than or equal to 1")
    if limit > MAX_OUTPUT_TOKENS:
        raise invalid(
            f"max_tokens: {limit} > {MAX_OUTPUT_TOKENS}, which is the maximum allowed number of "
            f"output tokens for {body['model']}"
        )
    _check_messages(body["messages"])
    _check_thinking(body)
    _check_metadata(body.get("metadata"))
    _check_output_config(body.get("output_config"))


def _check_messages(messages: object) -> None:
    if not isinstance(messages, list) or not messages:
        raise invalid("messages: at least one message is required")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in {"user", "assistant"}:
            raise invalid(f"messages.{index}.role: Input should be 'user' or 'assistant'")
        if not text_of(message.get("content")):
            raise invalid(f"messages.{index}: messages must have non-empty content")
    if messages[-1]["role"] == "assistant":
        raise invalid(
            "This model does not support assistant message prefill. The conversation must end "
            "with a user message."
        )


def _check_thinking(body: Mapping[str, Any]) -> None:
    thinking = body.get("thinking")
    if thinking is not None and (
        not isinstance(thinking, dict) or thinking.get("type") in {"enabled", "disabled"}
    ):
        raise invalid(
            f"thinking: only adaptive thinking is supported by {body['model']}; use "
            "output_config.effort to say how much"
        )
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") in {"any", "tool"}:
        raise invalid(f"tool_choice: forced tool use is not supported by {body['model']}")


def _check_metadata(metadata: object) -> None:
    if metadata is None:
        return
    if not isinstance(metadata, dict) or set(metadata) - {"user_id"}:
        raise invalid("metadata: Extra inputs are not permitted")
    user_id = metadata.get("user_id")
    if user_id is not None and (not isinstance(user_id, str) or len(user_id) > MAX_USER_ID_LENGTH):
        raise invalid(f"metadata.user_id: must be text of at most {MAX_USER_ID_LENGTH} characters")


def _check_output_config(config: object) -> None:
    if config is None:
        return
    if not isinstance(config, dict) or set(config) - {"effort", "format"}:
        raise invalid("output_config: Extra inputs are not permitted")
    effort = config.get("effort")
    if effort is not None and effort not in EFFORTS:
        raise invalid(f"output_config.effort: Input should be one of {', '.join(EFFORTS)}")
    wanted = config.get("format")
    if wanted is None:
        return
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        raise invalid("output_config.format.type: Input should be 'json_schema'")
    if not isinstance(wanted.get("schema"), dict):
        raise invalid("output_config.format.schema: Field required")
    _check_schema(wanted["schema"], "output_config.format.schema")


def _check_schema(schema: Mapping[str, Any], where: str) -> None:
    for keyword in schema:
        if keyword in _UNSUPPORTED:
            raise invalid(f"{where}: For this type, property '{keyword}' is not supported")
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            raise invalid(
                f"{where}: For 'object' type, 'additionalProperties' must be explicitly set to "
                "false"
            )
        for name, part in schema.get("properties", {}).items():
            _check_schema(part, f"{where}.properties.{name}")
    if isinstance(schema.get("items"), dict):
        _check_schema(schema["items"], f"{where}.items")


def text_of(content: object) -> str:
    """The text of a message's or system prompt's content, given as text or as blocks."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(
            block["text"]
            for block in content
            if isinstance(block, dict) and isinstance(block.get("text"), str)
        )
    return ""
