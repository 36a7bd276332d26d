"""Each record is one line that names its session and holds no secret."""

import asyncio
import io
import json
import logging
import sys
import warnings

import kopf
import pytest

from spawnai.telemetry.logs import JsonFormatter, configure_logging, session_context
from spawnai.telemetry.redaction import Redactor

TOKEN = "dop" + "_v1_" + "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def untouched_logging():
    """What configure_logging changes is put back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {
        name: logger.level
        for name, logger in logging.Logger.manager.loggerDict.items()
        if isinstance(logger, logging.Logger)
    }
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, logger in logging.Logger.manager.loggerDict.items():
        if isinstance(logger, logging.Logger):
            logger.setLevel(levels.get(name, logging.NOTSET))


class Output:
    def __init__(self, monkeypatch, level="info", style="json", redactor=None) -> None:
        self.stream = io.StringIO()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", self.stream)
            configure_logging(level, style, redactor)

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def records(self) -> list[dict]:
        return [json.loads(line) for line in self.text.splitlines()]


LOGGER = logging.getLogger("spawnai.test")


def fail(text: str) -> None:
    raise LookupError(text)


def test_a_record_is_one_json_line(monkeypatch):
    output = Output(monkeypatch)
    LOGGER.info("two\nlines of %s", "text", extra={"step": "deploy", "seconds": 1.5, "what": [1]})
    [record] = output.records
    assert record.pop("time").endswith("Z")
    assert record == {
        "level": "info",
        "logger": "spawnai.test",
        "message": "two\nlines of text",
        "step": "deploy",
        "seconds": 1.5,
        "what": "[1]",
    }
    assert output.text.count("\n") == 1


def test_a_traceback_is_in_the_same_line(monkeypatch):
    output = Output(monkeypatch)
    try:
        fail("nowhere")
    except LookupError:
        LOGGER.exception("looked in vain")
    [record] = output.records
    assert "LookupError: nowhere" in record["exception"]
    assert record["level"] == "error"


def test_every_record_inside_a_context_names_the_session(monkeypatch):
    output = Output(monkeypatch)
    with session_context("team-a", "retro-board", "uid-1"):
        LOGGER.info("inside")
        logging.getLogger("some.library").warning("inside as well")
    LOGGER.info("outside")
    inside, library, outside = output.records
    for record in (inside, library):
        assert (record["session"], record["namespace"], record["uid"]) == (
            "retro-board",
            "team-a",
            "uid-1",
        )
    assert "session" not in outside


async def test_two_sessions_worked_on_at_once_keep_their_names_apart(monkeypatch):
    output = Output(monkeypatch)

    async def step(name: str) -> None:
        await asyncio.sleep(0)
        LOGGER.info("step of %s", name)

    async def work(name: str) -> None:
        with session_context("default", name, f"uid of {name}"):
            await asyncio.sleep(0)
            await asyncio.gather(step(name), step(name))

    await asyncio.gather(*(work(f"session-{number}") for number in range(5)))
    assert len(output.records) == 10
    for record in output.records:
        assert record["message"] == f"step of {record['session']}"


def test_what_kopf_says_about_an_object_names_the_object(monkeypatch):
    output = Output(monkeypatch)
    reference = {"kind": "SpawnSession", "name": "board", "namespace": "team-a", "uid": "uid-1"}
    logging.getLogger("kopf.objects").warning(
        "Handler failed",
        extra={"k8s_ref": reference, "k8s_skip": True, "settings": kopf.OperatorSettings()},
    )
    [record] = output.records
    assert (record["session"], record["namespace"], record["uid"]) == ("board", "team-a", "uid-1")
    assert "settings" not in record
    assert "k8s_ref" not in record


def test_kopfs_line_for_every_watch_event_is_quiet(monkeypatch):
    output = Output(monkeypatch)
    logging.getLogger("kopf.objects").info("Handler 'wake' succeeded.")
    logging.getLogger("httpx").info("HTTP Request: GET https://203.0.113.9:8443/v1/status")
    assert output.text == ""


@pytest.mark.parametrize("library", ["anthropic", "httpcore", "azure.core", "kubernetes.client"])
def test_no_library_writes_bodies_or_headers_even_at_debug(monkeypatch, library):
    output = Output(monkeypatch, level="debug")
    logging.getLogger(f"{library}.rest").debug("body: the prompt")
    LOGGER.debug("ours")
    assert [record["message"] for record in output.records] == ["ours"]


@pytest.mark.parametrize("style", ["json", "text"])
def test_no_secret_is_in_any_part_of_a_line(monkeypatch, style):
    redactor = Redactor()
    redactor.register("correct horse battery")
    output = Output(monkeypatch, style=style, redactor=redactor)
    with session_context("default", f"board-{TOKEN}", "uid"):
        try:
            fail(f"401 for {TOKEN}")
        except LookupError:
            LOGGER.exception(
                "calling with %s", TOKEN, extra={"header": {"Authorization": f"Bearer {TOKEN}"}}
            )
        LOGGER.info("correct horse %s", "battery")
    assert "0123456789abcdef" not in output.text
    assert "battery" not in output.text
    assert "[redacted]" in output.text


def test_text_is_for_people_and_cannot_be_forged(monkeypatch):
    output = Output(monkeypatch, style="text")
    with session_context("team-a", "board", "uid-1"):
        LOGGER.warning("said %s", "hi\n2026-11-01 ERROR forged", extra={"step": "deploy"})
    [line] = output.text.splitlines()
    assert line.endswith(
        r"WARNING  spawnai.test [team-a/board] said hi\n2026-11-01 ERROR forged step=deploy"
    )


def test_a_message_whose_arguments_do_not_fit_is_still_a_line(monkeypatch):
    output = Output(monkeypatch)
    LOGGER.info("%d droplets in %s", "three")  # noqa: PLE1206 - the mistake is the subject
    [record] = output.records
    assert record["message"] == "%d droplets in %s ('three',)"


def test_text_in_any_script_is_readable(monkeypatch):
    output = Output(monkeypatch)
    LOGGER.info("prêt 準備完了 🚀")
    assert "prêt 準備完了 🚀" in output.text


def test_warnings_of_the_interpreter_are_records_too(monkeypatch):
    output = Output(monkeypatch)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old way", UserWarning, stacklevel=1)
    assert "old way" in output.records[0]["message"]


def test_levels_are_kept(monkeypatch):
    output = Output(monkeypatch, level="WARNING")
    LOGGER.info("too quiet")
    LOGGER.warning("loud enough")
    assert [record["message"] for record in output.records] == ["loud enough"]


def test_configuring_twice_writes_once(monkeypatch):
    Output(monkeypatch)
    output = Output(monkeypatch)
    LOGGER.info("once")
    assert len(output.records) == 1


@pytest.mark.parametrize(
    ("level", "style", "sentence"),
    [
        ("loud", "json", "Log level 'loud' is unknown; write one of debug, info, warning, error"),
        ("info", "xml", "Log format 'xml' is unknown; write one of json, text"),
    ],
)
def test_an_unknown_setting_says_what_to_write(level, style, sentence):
    with pytest.raises(ValueError, match=sentence):
        configure_logging(level, style)


def test_a_formatter_of_its_own_can_be_used_elsewhere():
    record = logging.makeLogRecord({"msg": "hello", "levelname": "INFO"})
    assert json.loads(JsonFormatter(Redactor()).format(record))["message"] == "hello"
