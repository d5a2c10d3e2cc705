from collector.doctor.finding import (
    Finding,
    has_problem,
    ok,
    problem,
    shown_bytes,
    shown_ms,
    shown_seconds,
    warning,
)
from collector.doctor.render import render

FOUND = [
    ok("config.right", "the configuration is right"),
    ok("ports.free", "127.0.0.1:4001 is free", "web.listen"),
    problem("ports.taken", "127.0.0.1:4000 is taken", "It can't start.", "stop it " * 20, "relay.listen"),
    warning("disk.scarce", "1 GiB is free", "It fills.", "free some"),
]


def test_plain_text() -> None:
    text = render(FOUND)
    assert "\x1b" not in text
    assert text.splitlines()[:5] == [
        "config",
        "  ok       the configuration is right",
        "",
        "ports",
        "  ok       web.listen: 127.0.0.1:4001 is free",
    ]
    assert "  PROBLEM  relay.listen: 127.0.0.1:4000 is taken\n           Why: It can't start.\n" in text
    assert text.endswith("\n1 problem, 1 warning, 2 ok.\n")
    assert max(map(len, text.splitlines())) <= 100


def test_a_style_for_a_terminal() -> None:
    text = render(FOUND, style=lambda word, severity: f"<{severity}>{word}", columns=60)
    assert "<problem>PROBLEM" in text
    assert max(map(len, text.replace("<problem>", "").splitlines())) <= 60


def test_a_problem_is_what_counts() -> None:
    assert has_problem(FOUND)
    assert not has_problem([FOUND[0], FOUND[3]])


def test_a_group_is_the_first_word_of_a_code() -> None:
    assert Finding(code="disk.full", severity="ok", found="").group == "disk"


def test_sizes_and_times_for_people() -> None:
    assert [shown_bytes(n) for n in (0, 1023, 1024, 5 * 1024**3, 5000 * 1024**3)] == [
        "0 bytes",
        "1,023 bytes",
        "1.0 KiB",
        "5.0 GiB",
        "5,000 GiB",
    ]
    assert [shown_ms(n) for n in (0.081, 1.23, 12.3, 1234, -0.2)] == [
        "0.08 ms",
        "1.2 ms",
        "12 ms",
        "1.2 s",
        "-0.20 ms",
    ]
    assert [shown_seconds(n) for n in (0.5, 50, 600, 9000, 200_000)] == [
        "0.5 s",
        "50 s",
        "10 min",
        "2 h",
        "2 days",
    ]
