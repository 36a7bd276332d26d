"""How fast the simulated Claude is, and who may ask it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

DEFAULT_API_KEY = "local-key"
# A second key that is accepted, of an account without credit.
NO_CREDIT_API_KEY = "local-key-without-credit"
# A wrong key whose refusal repeats it, as that of a careless proxy might.
REPEATED_API_KEY = "repeat-me-in-your-refusal"

CHANGEABLE = ("first_token_seconds", "tokens_per_second", "hang_seconds")


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """Times are seconds. `tokens_per_second` 0 sends everything as fast as it goes."""

    api_key: str = DEFAULT_API_KEY
    first_token_seconds: float = 0.5
    tokens_per_second: float = 400.0
    seed: int = 0
    hang_seconds: float = 600.0
    bundles: Path | None = None
    """A folder with an answer for each `bundle:NAME` that a prompt may ask for."""

    def document(self) -> dict[str, float]:
        """What may be read and changed while the simulator runs."""
        return {name: value for name, value in asdict(self).items() if name in CHANGEABLE}

    def changed(self, wanted: Mapping[str, Any]) -> "SimulatorSettings":
        """The settings with some of them changed.

        Raises:
            ValueError: a name is unknown or a value is no number from 0 on.
        """
        for name, value in wanted.items():
            if name not in CHANGEABLE:
                raise ValueError(f"{name!r} cannot be set; use {', '.join(CHANGEABLE)}")
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise ValueError(f"{name} must be a number from 0 on, not {value!r}")
        return replace(self, **{name: float(value) for name, value in wanted.items()})  # type: ignore[arg-type]
