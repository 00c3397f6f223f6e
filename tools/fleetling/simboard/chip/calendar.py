# SPDX-License-Identifier: MIT
"""Dates of the proleptic Gregorian calendar from seconds since 2000-01-01, and back.

Years are counted from March, so that the leap day is the last one (H. Hinnant,
"chrono-Compatible Low-Level Date Algorithms").
"""

from micropython import const

# Days from 0000-03-01 to 2000-01-01.
_EPOCH = const(730425)
_ERA = const(146097)
# 2000-01-01 was a Saturday; Monday is 0.
_EPOCH_WEEKDAY = const(5)


def to_seconds(year, month, day, hours=0, minutes=0, seconds=0):
    if month <= 2:
        year -= 1
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = year * 365 + year // 4 - year // 100 + year // 400 + day_of_year - _EPOCH
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def from_seconds(total):
    """(year, month, day, hours, minutes, seconds, weekday)."""
    days, rest = divmod(total, 86400)
    era, day = divmod(days + _EPOCH, _ERA)
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    shifted = (5 * day + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    year += era * 400 + (1 if month <= 2 else 0)
    day += 1 - (153 * shifted + 2) // 5
    hours, rest = divmod(rest, 3600)
    return (year, month, day, hours, rest // 60, rest % 60, (days + _EPOCH_WEEKDAY) % 7)
