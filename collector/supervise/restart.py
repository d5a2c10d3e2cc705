"""When a process that died is started again. Pure: the time of each death comes in, a delay goes out."""

from collections import deque

# A relay worker serves clients who wait, so it comes back at once. Only one that dies again and again
# (5 times in 10 s) waits, and never longer than a second.
RELAY_DEATHS = 5
RELAY_WINDOW_S = 10.0
RELAY_DELAY_S = 1.0

# Nobody waits for the others: 0.5 s, doubled with each death, up to 30 s. One that lived for a minute
# starts over.
FIRST_DELAY_S = 0.5
LAST_DELAY_S = 30.0
STEADY_S = 60.0


class RelayRestart:
    def __init__(self) -> None:
        self._deaths: deque[float] = deque(maxlen=RELAY_DEATHS)

    def delay_s(self, lived_s: float, now_s: float) -> float:
        self._deaths.append(now_s)
        crashing = len(self._deaths) == RELAY_DEATHS and now_s - self._deaths[0] <= RELAY_WINDOW_S
        return RELAY_DELAY_S if crashing else 0.0


class BackoffRestart:
    def __init__(self) -> None:
        self._deaths = 0

    def delay_s(self, lived_s: float, now_s: float) -> float:
        self._deaths = 1 if lived_s >= STEADY_S else self._deaths + 1
        return float(min(LAST_DELAY_S, FIRST_DELAY_S * 2 ** min(self._deaths - 1, 16)))


Restart = RelayRestart | BackoffRestart
