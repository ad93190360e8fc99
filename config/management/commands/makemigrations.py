from django.core.management.commands.makemigrations import Command as DjangoCommand

from workspaces.lifecycle.autodetector import Autodetector


class Command(DjangoCommand):
    """Django's own, which notices new statuses and moves too."""

    autodetector = Autodetector
