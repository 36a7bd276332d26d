"""Claude's Messages API on this machine: streaming, usage, errors, and answers that are real apps.

`ClaudeSimulator` is the whole of it; `python -m spawnai_local.claude` runs one.
"""

from spawnai_local.claude.settings import SimulatorSettings
from spawnai_local.claude.simulator import ClaudeSimulator

__all__ = ["ClaudeSimulator", "SimulatorSettings"]
