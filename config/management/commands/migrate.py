from django.core.management.commands.migrate import Command as DjangoCommand

from workspaces.lifecycle.autodetector import Autodetector


class Command(DjangoCommand):
    """Django's command with our autodetector, which also notices new statuses and transitions."""

    autodetector = Autodetector
