"""The form field of a name."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminTextInputWidget

from agent.texts import clean_name


class NameField(forms.CharField):
    """A text of one line: NFC, single spaces, no control, bidi or invisible characters."""

    widget = UnfoldAdminTextInputWidget

    def to_python(self, value: Any) -> Any:
        """Return the cleaned name. Raises ValidationError."""
        try:
            return clean_name(super().to_python(value) or "")
        except ValueError as error:
            raise ValidationError(f"This text {error}.") from None
