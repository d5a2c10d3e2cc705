"""Figures and times as people read them: values come in, short text leaves. Pure; Jinja's filters.

Money never goes through a float. A table shows all its money with the same number of places, so that
columns line up and can be added by eye. What is not known is a dash, never a zero.
"""

from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from zoneinfo import ZoneInfo

DASH = "–"
MINUS = "−"
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


def money(value: Decimal | None, places: int = 2) -> str:
    """$1,234.56; a cost too small for its places is said to be smaller, not nothing."""
    if value is None:
        return DASH
    least = Decimal(1).scaleb(-places)
    if value and abs(value) < least / 2:
        return f"< ${least:f}" if value > 0 else f"> {MINUS}${least:f}"
    rounded = abs(value).quantize(least, rounding=ROUND_HALF_EVEN)
    return f"{MINUS if value < 0 else ''}${rounded:,f}"


def rate(value: Decimal) -> str:
    """A price as the list has it, with cents at least: $0.10, $0.075."""
    exponent = value.normalize().as_tuple().exponent
    places = max(2, -exponent) if isinstance(exponent, int) else 2
    return f"${value:,.{places}f}"


def places_for(value: Decimal) -> int:
    """Cents for a bill; more while all there is to show is small."""
    size = abs(value)
    return 2 if size >= 10 or not size else 4 if size >= Decimal("0.1") else 6


def count(value: int | None) -> str:
    return DASH if value is None else f"{value:,}"


def short_count(value: int) -> str:
    """12,345 in full, 1.23 million in three digits."""
    for size, name in ((10**12, "trillion"), (10**9, "billion"), (10**6, "million")):
        if value >= size:
            scaled = Decimal(value) / size
            places = 2 if scaled < 10 else 1 if scaled < 100 else 0
            return f"{scaled:.{places}f} {name}"
    return f"{value:,}"


def percent(part: Decimal | int, whole: Decimal | int) -> str:
    if not whole:
        return DASH
    share = Decimal(part) * 100 / Decimal(whole)
    if 0 < share < Decimal("0.1"):
        return "< 0.1 %"
    return f"{share:.1f} %" if share < 99.95 or part == whole else "> 99.9 %"


def duration(ms: float | None) -> str:
    if ms is None:
        return DASH
    if ms < 1:
        return f"{ms:.2f} ms"
    if ms < 999.5:
        return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.2f} s"
    seconds = round(ms / 1000)
    return f"{seconds // 60} min {seconds % 60:02d} s"


def clock(instant: datetime, zone: str) -> str:
    return f"{instant.astimezone(ZoneInfo(zone)):%H:%M:%S}"


def day_name(instant: datetime, zone: str) -> str:
    return short_date(instant.astimezone(ZoneInfo(zone)).date())


def short_date(day: date) -> str:
    return f"{day.day} {MONTHS[day.month - 1][:3]}"


def long_time(instant: datetime, zone: str) -> str:
    local = instant.astimezone(ZoneInfo(zone))
    return f"{long_date(local.date())}, {local:%H:%M:%S}.{local.microsecond // 1000:03d}"


def long_minute(instant: datetime, zone: str) -> str:
    local = instant.astimezone(ZoneInfo(zone))
    return f"{long_date(local.date())}, {local:%H:%M}"


def long_date(day: date) -> str:
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def month_name(month: str) -> str:
    year, _, number = month.partition("-")
    return f"{MONTHS[int(number) - 1]} {year}"


def bytes_size(size: int | None) -> str:
    if size is None:
        return DASH
    if size < 1024:
        return f"{size} B"
    return f"{Decimal(size) / 1024:.1f} KiB" if size < 1024**2 else f"{Decimal(size) / 1024**2:.1f} MiB"


FILTERS = {
    "money": money,
    "rate": rate,
    "count": count,
    "short_count": short_count,
    "percent": percent,
    "duration": duration,
    "clock": clock,
    "day_name": day_name,
    "short_date": short_date,
    "long_time": long_time,
    "long_minute": long_minute,
    "month_name": month_name,
    "bytes_size": bytes_size,
}
