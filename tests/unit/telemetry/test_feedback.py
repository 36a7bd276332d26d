from prometheus_client import CollectorRegistry

from spawnai.api.session import SessionStatus
from spawnai.telemetry.metrics import Metrics


def answers(metrics):
    return [
        metrics.registry.get_sample_value("spawnai_session_feedback", {"answer": answer})
        for answer in ("yes", "no")
    ]


def test_answers_are_counted_once_a_session_and_what_else_is_written_is_none():
    metrics = Metrics(CollectorRegistry())
    assert answers(metrics) == [0, 0]
    metrics.session_seen("a", SessionStatus(), feedback="yes")
    metrics.session_seen("a", SessionStatus(), feedback="yes")
    metrics.session_seen("b", SessionStatus(), feedback="no")
    metrics.session_seen("c", SessionStatus(), feedback="splendid")
    assert answers(metrics) == [1, 1]
    metrics.session_seen("b", SessionStatus(), feedback="yes")
    assert answers(metrics) == [2, 0]
    metrics.session_seen("a", None)
    assert answers(metrics) == [1, 0]
