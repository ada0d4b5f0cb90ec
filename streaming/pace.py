"""How often somebody may do something: a bucket that fills up again. Pure."""


class Pace:
    """Allows `per_minute` in any minute, and all of them at once if need be."""

    def __init__(self, per_minute: int) -> None:
        self._most = float(per_minute)
        self._left = float(per_minute)
        self._at: float | None = None

    def seconds_to_wait(self, now: float) -> float:
        """Count one more at `now` (in seconds, of any clock that does not go back).

        Return 0 if it is allowed, else after how long one would be."""
        passed = 0.0 if self._at is None else now - self._at
        self._left = min(self._most, self._left + passed * self._most / 60)
        self._at = now
        if self._left < 1:
            return (1 - self._left) * 60 / self._most
        self._left -= 1
        return 0.0
