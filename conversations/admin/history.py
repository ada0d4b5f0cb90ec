"""What all lists of the history have in common: they are read and never changed, and cost the same however long it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

#: Rows of a list that are counted, and so the last that its pages lead to: to count a million takes longer than to read a page.
ROWS_COUNTED = 2_000
#: The same for a search: what has so many hits is better looked for with another word, a time or a filter.
FOUND_COUNTED = 200

M = TypeVar("M", bound=Model)

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin
    HistoryPaginator = Paginator[Any]
else:
    HistoryPaginator = Paginator

    class ModelAdmin(admin.ModelAdmin, Generic[M]):
        """Django's own knows the model as a parameter to the type checker only."""


class BoundedPaginator(HistoryPaginator):
    """Counts rows as far as pages lead to them."""

    most: int

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        return rows.order_by().values("pk")[: self.most].count()

    @property
    def is_cut(self) -> bool:
        """Are there more, perhaps?"""
        return self.count == self.most


class History(ModelAdmin[M]):
    """Rows that nobody adds, changes or deletes here."""

    paginator = BoundedPaginator
    list_per_page = 50
    list_max_show_all = 200
    # The number of all rows is a second scan of the table for each search.
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def get_paginator(self, request: HttpRequest, *args: Any, **kwargs: Any) -> BoundedPaginator:
        paginator = super().get_paginator(request, *args, **kwargs)
        assert isinstance(paginator, BoundedPaginator)
        paginator.most = FOUND_COUNTED if request.GET.get(SEARCH_VAR) else ROWS_COUNTED
        return paginator

    def is_list(self, request: HttpRequest) -> bool:
        match = request.resolver_match
        return match is not None and (match.url_name or "").endswith("_changelist")
