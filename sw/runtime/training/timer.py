"""`SecondOrStepTimer`: whether it is time, by the clock or by steps."""

from __future__ import annotations

import time

from sw.graph.errors import InvalidArgumentError


class SecondOrStepTimer:
    """Triggers at the first step, and then every so many seconds or steps; exactly one is given."""

    def __init__(self, every_secs: float | None = None, every_steps: int | None = None) -> None:
        given = [value for value in (every_secs, every_steps) if value is not None]
        if len(given) != 1:
            raise InvalidArgumentError(
                f"give exactly one of seconds and steps, not {every_secs} and {every_steps}"
            )
        if given[0] <= 0:
            raise InvalidArgumentError(f"an interval must be positive, not {given[0]}")
        self._secs, self._steps = every_secs, every_steps
        self.reset()

    def reset(self) -> None:
        """Start over."""
        self._last_step: int | None = None
        self._last_time: float | None = None

    def should_trigger_for_step(self, step: int) -> bool:
        """Whether it is time at this step."""
        if self._last_step is None or self._last_time is None:
            return True
        if step == self._last_step:
            return False
        if self._secs is not None:
            return time.monotonic() >= self._last_time + self._secs
        assert self._steps is not None
        return step >= self._last_step + self._steps

    def update_last_triggered_step(self, step: int) -> tuple[float | None, int | None]:
        """Note that it triggered; seconds and steps since the last time, None at the first."""
        now = time.monotonic()
        since: tuple[float | None, int | None] = (None, None)
        if self._last_step is not None and self._last_time is not None:
            since = (now - self._last_time, step - self._last_step)
        self._last_step, self._last_time = step, now
        return since

    def last_triggered_step(self) -> int | None:
        """The last step at which it triggered, or None."""
        return self._last_step
