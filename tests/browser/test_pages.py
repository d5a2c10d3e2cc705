import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

COMPLAINTS = re.compile(r"CONSOLE.*|.*Content Security Policy.*|.*Failed to load resource.*")
PAPER = {"light": b"\xf7\xf6\xf2", "dark": b"\x12\x16\x17"}


def complaints(errors: str) -> list[str]:
    return [line for line in errors.splitlines() if COMPLAINTS.search(line)]


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/", "/?month=2026-10", "/calls", "/nothing"])
def test_a_browser_shows_the_page_and_complains_of_nothing(
    browse: Callable[..., Any], site: str, path: str
) -> None:
    found = browse(f"{site}{path}", "--dump-dom")
    assert "<main" in found.stdout
    expected = ["Failed to load resource"] if path == "/nothing" else []
    assert [line for line in complaints(found.stderr) if not any(one in line for one in expected)] == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_in_both_widths_and_schemes(
    browse: Callable[..., Any], site: str, tmp_path: Path, width: int, scheme: str
) -> None:
    picture = tmp_path / "page.png"
    options = [f"--window-size={width},1600", f"--screenshot={picture}"]
    if scheme == "dark":
        options.append("--blink-settings=preferredColorScheme=0")
    found = browse(site, *options)
    pixels = picture.read_bytes()
    assert struct.unpack(">II", pixels[16:24]) == (width, 1600)
    assert complaints(found.stderr) == []
    assert corner(pixels) == PAPER[scheme]  # below the header, left of the content: the paper


def corner(png: bytes) -> bytes:
    """The colour at (2, 1000), left of the content, by the plainest reading of a PNG."""
    at, data, channels = 8, b"", {2: 3, 6: 4}[png[25]]
    width = struct.unpack(">I", png[16:20])[0]
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        data += png[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += 12 + size
    raw, stride = zlib.decompress(data), width * channels
    cut = 4 * channels  # a pixel is guessed from its left and upper neighbours only
    line = bytearray(cut)
    for row in range(1001):
        start = row * (stride + 1)
        line = unfiltered(raw[start], raw[start + 1 : start + 1 + cut], line, channels)
    return bytes(line[2 * channels : 2 * channels + 3])


def unfiltered(kind: int, cut: bytes, above: bytearray, channels: int) -> bytearray:
    line = bytearray(len(cut))
    for place, value in enumerate(cut):
        left = line[place - channels] if place >= channels else 0
        before = above[place - channels] if place >= channels else 0
        up = above[place]
        guess = left + up - before
        nearest = min((left, up, before), key=lambda one: abs(guess - one))
        line[place] = (value + (0, left, up, (left + up) // 2, nearest)[kind]) & 255
    return line


@pytest.mark.slow
def test_it_prints(browse: Callable[..., Any], site: str, tmp_path: Path) -> None:
    paper = tmp_path / "page.pdf"
    browse(site, f"--print-to-pdf={paper}", "--no-pdf-header-footer")
    content = paper.read_bytes()
    assert content.startswith(b"%PDF")
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 3


@pytest.mark.slow
def test_finance_clicks_through(browse: Callable[..., Any], site: str) -> None:
    """Open, go to the month before, to a model's calls, to one call: each found in what the browser shows."""
    month = browse(site, "--dump-dom").stdout
    before = re.search(r'href="(/\?month=[\d-]+)" rel="prev"', month)
    assert before
    october = browse(site + before[1], "--dump-dom").stdout
    assert "October 2026" in october
    model = re.search(r'href="(/calls\?[^"]*model=[^"]+)"', october)
    assert model
    calls = browse(site + model[1].replace("&amp;", "&"), "--dump-dom").stdout
    call = re.search(r'href="(/calls/[0-9a-f-]{36})"', calls)
    assert call
    assert "Was it the sidecar?" in browse(site + call[1], "--dump-dom").stdout
    assert httpx.get(f"{site}/api/v1{call[1]}").status_code == 200
