from workspaces.management.generated_page import GeneratedPageCommand
from workspaces.management.operations_page import operations_page


class Command(GeneratedPageCommand):
    help = "Write docs/reference/operations.md from the table of operations."
    path = "docs/reference/operations.md"
    render = staticmethod(operations_page)
