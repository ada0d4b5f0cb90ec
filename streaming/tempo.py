"""How long what replies say may wait to be stored and told together. Pure.

Each frame costs its commit and its way to each reader, however little is in it. As long as there is time, frames are short
and a delta is told at once; a loop that is busy most of its time takes longer ones, so that it is never late for lack of
time: at twice the frame, half the frames say as much.
"""

#: Shares of its time that the loop works: above the one frames grow, below the other they shrink again.
BUSY, CALM = 0.75, 0.6
#: By so much with each frame, and by how much of it the newest share counts.
STEP, WEIGHT = 1.1, 0.2
#: The longest frame, as a multiple of the shortest: 16 ms become 48.
LONGEST = 3.0


class Tempo:
    """The length of a frame, in seconds, beginning with the shortest."""

    def __init__(self, shortest: float) -> None:
        self.frame = self._shortest = shortest
        self._share = 0.0

    def note(self, worked: float, lasted: float) -> None:
        """For `worked` of the last `lasted` seconds the loop had something to do."""
        self._share += WEIGHT * (worked / max(lasted, 1e-6) - self._share)
        if self._share > BUSY:
            self.frame = min(self.frame * STEP, self._shortest * LONGEST)
        elif self._share < CALM:
            self.frame = max(self.frame / STEP, self._shortest)
