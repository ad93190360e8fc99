"""The form that asks which dead letters of a channel to send again."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from unfold.widgets import UnfoldAdminTextInputWidget

from events.models import Delivery


class RedriveForm(forms.Form):
    """All dead letters of a channel, or those of events since a time."""

    since = forms.DateTimeField(
        label="Only events since (UTC)",
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "2026-01-31 14:00"}),
        help_text="Leave empty to redrive all dead letters.",
        error_messages={"invalid": "This is not a date and time. Enter one like 2026-01-31 14:00."},
    )

    def selected(self, deliveries: QuerySet[Delivery]) -> QuerySet[Delivery]:
        """Return those of the deliveries that the form selects."""
        since: Any = self.cleaned_data["since"]
        return deliveries.filter(event__created_at__gte=since) if since else deliveries
