from workspaces.lifecycle.diagram import lifecycle_page
from workspaces.management.generated_page import GeneratedPageCommand


class Command(GeneratedPageCommand):
    help = "Write docs/lifecycle.md from the table of transitions."
    path = "docs/lifecycle.md"
    render = staticmethod(lifecycle_page)
