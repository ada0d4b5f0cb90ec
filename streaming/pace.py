"""How often somebody may do something: a bucket that fills up again. Pure."""

from collections.abc import Hashable


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

    def is_full(self, now: float) -> bool:
        """Has so long been nothing that it is as if there had never been any?"""
        return self._at is None or self._left + (now - self._at) * self._most / 60 >= self._most


#: How many paces are kept before those that have filled up again are let go.
MANY = 1000


class Paces:
    """A pace for each of many."""

    def __init__(self) -> None:
        self._paces: dict[Hashable, Pace] = {}

    def __len__(self) -> int:
        return len(self._paces)

    def seconds_to_wait(self, whose: Hashable, per_minute: int, now: float) -> float:
        """Count one more for somebody: see Pace. `per_minute` counts from the first."""
        if whose not in self._paces:
            if len(self._paces) >= MANY:
                self._paces = {key: pace for key, pace in self._paces.items() if not pace.is_full(now)}
            self._paces[whose] = Pace(per_minute)
        return self._paces[whose].seconds_to_wait(now)
