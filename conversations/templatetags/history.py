"""What the lists of the history need beyond Django's own tags."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

from django import template
from django.utils.formats import date_format
from django.utils.text import capfirst
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

register = template.Library()

UNITS = ("year", "month", "day")
FORMATS = ("Y", "YEAR_MONTH_FORMAT", "MONTH_DAY_FORMAT")


@register.inclusion_tag("admin/date_hierarchy.html")
def periods(changelist: Any) -> dict[str, Any]:
    """Lead to years, months and days, as Django's own `date_hierarchy` does.

    That one asks every row for its period, which takes seconds of a million. Here the oldest and the newest row tell
    where time begins and ends, and the calendar tells the rest: a day may be offered on which nothing was said.
    """
    first, last = ends_of_time(changelist)
    if first is None or last is None:
        return {"show": False}
    chosen = [int(value) for unit in UNITS if (value := changelist.params.get(f"{changelist.date_hierarchy}__{unit}"))]
    at, back = list(chosen), None
    if chosen:
        above = chosen[:-1]
        title = words_for(above) if above else _("All dates")
        back = {"link": address(changelist, above), "title": title}
    found = list(begins(at, first, last))
    while not chosen and len(found) == 1 and len(at) < 2:
        at.append(found[0].timetuple()[len(at)])
        found = list(begins(at, first, last))
    choices = [list(day.timetuple()[: len(at) + 1]) for day in found]
    links = [{"link": address(changelist, choice), "title": words_for(choice)} for choice in choices]
    return {"show": True, "back": back, "choices": links if len(at) < 3 else [{"title": words_for(at)}]}


def ends_of_time(changelist: Any) -> tuple[date | None, date | None]:
    """Return the days of the oldest and of the newest row: each is at one end of the index."""
    field = changelist.date_hierarchy
    times = changelist.model._default_manager.order_by(field).values_list(field, flat=True)
    first, last = (day_of(time) for time in (times.first(), times.last()))
    return first, last


def day_of(time: datetime | None) -> date | None:
    return None if time is None else localtime(time).date()


def begins(at: list[int], first: date, last: date) -> Iterator[date]:
    """Return the first days of the years, of the months of a year, or of the days of a month, as far as there is time."""
    if not at:
        yield from (date(year, 1, 1) for year in range(first.year, last.year + 1))
    elif len(at) == 1:
        months = (date(at[0], month, 1) for month in range(1, 13))
        yield from (day for day in months if first.replace(day=1) <= day <= last)
    elif len(at) == 2:
        year, month = at
        days = (date(year, month, day) for day in range(1, monthrange(year, month)[1] + 1))
        yield from (day for day in days if first <= day <= last)


def words_for(period: list[int]) -> str:
    year, month, day = [*period, 1, 1][:3]
    return str(year) if len(period) == 1 else capfirst(date_format(date(year, month, day), FORMATS[len(period) - 1]))


def address(changelist: Any, period: list[int]) -> str:
    field = changelist.date_hierarchy
    wanted = {f"{field}__{unit}": value for unit, value in zip(UNITS, period, strict=False)}
    link: str = changelist.get_query_string(wanted, [f"{field}__"])
    return link
