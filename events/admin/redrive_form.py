"""The form that asks which dead letters of a channel to send again."""

from django import forms
from unfold.widgets import UnfoldAdminTextInputWidget


class RedriveForm(forms.Form):
    """All dead letters of a channel, or those of events since a time."""

    since = forms.DateTimeField(
        label="Only events since (UTC)",
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "2026-01-31 14:00"}),
        help_text="Leave empty to redrive all dead letters.",
        error_messages={"invalid": "This is not a date and time. Enter one like 2026-01-31 14:00."},
    )
