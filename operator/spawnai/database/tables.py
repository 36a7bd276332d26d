"""The SQL tables of the first description, as they run on PostgreSQL and SQLite.

Differences, and why: times carry their zone; `sessions.id` is the session's UID, and keys are made
from the ledger, so that writing twice changes nothing; there is no `admin_token`, as no such secret
exists; the money columns have six places, as the ledger has; a cost need not be a session's.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Index,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
)

metadata = MetaData()

_MONEY = Numeric(14, 6)
_TIME = DateTime(timezone=True)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("namespace", String(253)),
    Column("name", String(253), nullable=False),
    Column("class_name", String(253)),
    Column("user_id", String(255)),
    Column("prompt", Text),
    Column("app_type", String(50)),
    Column("tier", String(20)),
    Column("state", String(20), nullable=False),
    Column("droplet_id", BigInteger),
    Column("droplet_ip", String(45)),
    Column("region", String(16)),
    Column("size", String(64)),
    Column("app_url", Text),
    Column("created_at", _TIME, nullable=False),
    Column("started_at", _TIME),
    Column("ready_at", _TIME),
    Column("expires_at", _TIME),
    Column("destroyed_at", _TIME),
    Column("termination_reason", String(253)),
    Column("estimated_cost", _MONEY),
    Column("actual_cost", _MONEY),
    Column("metadata", JSON, nullable=False),
    Index("idx_sessions_state", "state"),
    Index("idx_sessions_user", "user_id"),
    Index("idx_sessions_expires", "expires_at"),
    # The history's, of one namespace and of all: its rows come in their order, without a sort.
    Index("idx_sessions_ended", "namespace", "destroyed_at", "id"),
    Index("idx_sessions_ended_anywhere", "destroyed_at", "id"),
)

droplets_pool = Table(
    "droplets_pool",
    metadata,
    Column("droplet_id", BigInteger, primary_key=True, autoincrement=False),
    Column("region", String(16)),
    Column("size", String(64)),
    Column("ip_address", String(45)),
    Column("status", String(20), nullable=False),
    Column("current_session_id", String(64), ForeignKey("sessions.id")),
    Column("created_at", _TIME, nullable=False),
    Column("scheduled_destruction", _TIME),
    Column("destroyed_at", _TIME),
    Column("hourly_cost", Numeric(14, 6), nullable=False),
    Column("total_cost", _MONEY),
    Index("idx_droplets_status", "status"),
    Index("idx_droplets_region", "region"),
    Index("idx_droplets_destruction", "scheduled_destruction"),
)

session_logs = Table(
    "session_logs",
    metadata,
    Column("id", String(96), primary_key=True),
    Column("session_id", String(64), ForeignKey("sessions.id"), nullable=False),
    Column("level", String(10), nullable=False),
    Column("event", String(50), nullable=False),
    Column("message", Text),
    Column("created_at", _TIME, nullable=False),
    Index("idx_logs_session", "session_id"),
    Index("idx_logs_level", "level"),
    Index("idx_logs_created", "created_at"),
)

cost_tracking = Table(
    "cost_tracking",
    metadata,
    Column("id", String(512), primary_key=True),
    # None of what is no session's: `kind` and `owner_name` tell whose it is.
    Column("session_id", String(64), ForeignKey("sessions.id")),
    Column("kind", String(20), nullable=False, server_default="session"),
    Column("owner_name", String(253)),
    Column("resource_type", String(20), nullable=False),
    Column("resource_id", String(253)),
    Column("unit_cost", Numeric(20, 12), nullable=False),
    Column("quantity", Numeric(20, 6), nullable=False),
    Column("total_cost", _MONEY, nullable=False),
    Column("started_at", _TIME, nullable=False),
    Column("ended_at", _TIME),
    Index("idx_costs_session", "session_id"),
    Index("idx_costs_resource", "resource_type"),
)

system_alerts = Table(
    "system_alerts",
    metadata,
    Column("id", String(96), primary_key=True),
    Column("session_id", String(64), ForeignKey("sessions.id")),
    Column("type", String(50), nullable=False),
    Column("message", Text, nullable=False),
    Column("created_at", _TIME, nullable=False),
    Index("idx_alerts_type", "type"),
)

ORDER = (sessions, droplets_pool, session_logs, cost_tracking, system_alerts)
"""The order in which rows are written: what others refer to first."""

# The first description's queries. Each works on both databases.
VIEWS = {
    "active_sessions": (
        "SELECT s.*, d.ip_address, d.status AS droplet_status FROM sessions s "
        "LEFT JOIN droplets_pool d ON s.droplet_id = d.droplet_id WHERE s.state <> 'destroyed'"
    ),
    "expiring_sessions": (
        "SELECT * FROM sessions WHERE state = 'running' AND expires_at IS NOT NULL "
        "AND expires_at <= {soon}"
    ),
    "session_costs": (
        "SELECT session_id, SUM(total_cost) AS total_cost, "
        "SUM(CASE WHEN resource_type = 'claude_api' THEN total_cost ELSE 0 END) AS claude_cost, "
        "SUM(CASE WHEN resource_type <> 'claude_api' THEN total_cost ELSE 0 END) AS infra_cost "
        "FROM cost_tracking WHERE session_id IS NOT NULL GROUP BY session_id"
    ),
    "shared_costs": (
        "SELECT kind, owner_name, SUM(total_cost) AS total_cost "
        "FROM cost_tracking WHERE session_id IS NULL GROUP BY kind, owner_name"
    ),
}
SOON = {
    "postgresql": "NOW() + INTERVAL '5 minutes'",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now', '+5 minutes')",
}
