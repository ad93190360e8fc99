"""Which dead letters to send anew: all, or those of events since a time."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from unfold.widgets import UnfoldAdminTextInputWidget

from events.models import Delivery


class RedriveForm(forms.Form):
    """All dead letters of a channel, or those since a time."""

    since = forms.DateTimeField(
        label="Only events since (UTC)",
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "2026-01-31 14:00"}),
        help_text="Empty: all dead letters.",
        error_messages={"invalid": "This is no time: write it like 2026-01-31 14:00."},
    )

    def chosen(self, deliveries: QuerySet[Delivery]) -> QuerySet[Delivery]:
        """Return which of these are meant."""
        since: Any = self.cleaned_data["since"]
        return deliveries.filter(event__created_at__gte=since) if since else deliveries
