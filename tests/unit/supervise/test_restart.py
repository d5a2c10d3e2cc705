from hypothesis import given
from hypothesis import strategies as st

from collector.supervise.restart import BackoffRestart, RelayRestart


def test_a_relay_worker_comes_back_at_once() -> None:
    restart = RelayRestart()
    assert [restart.delay_s(5.0, now) for now in (0.0, 5.0, 10.0, 15.0, 20.0, 25.0)] == [0.0] * 6


def test_a_relay_worker_that_dies_five_times_in_ten_seconds_waits_a_second() -> None:
    restart = RelayRestart()
    assert [restart.delay_s(0.1, now) for now in (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)] == [0.0] * 4 + [1.0] * 2
    assert restart.delay_s(60.0, 65.0) == 0.0


@given(st.lists(st.floats(0, 1000), max_size=30))
def test_a_relay_worker_never_waits_longer_than_a_second(lives: list[float]) -> None:
    restart, now = RelayRestart(), 0.0
    for lived in lives:
        now += lived
        assert restart.delay_s(lived, now) in (0.0, 1.0)


def test_others_wait_longer_each_time() -> None:
    restart = BackoffRestart()
    delays = [restart.delay_s(0.1, 0.0) for _ in range(9)]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert restart.delay_s(60.0, 0.0) == 0.5


def test_backoff_stays_a_number_however_long_it_goes_on() -> None:
    restart = BackoffRestart()
    assert {restart.delay_s(0.0, 0.0) for _ in range(3000)} >= {30.0}
