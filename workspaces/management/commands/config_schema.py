from workspaces.configuration.config_schema import schema_page
from workspaces.management.generated_page import GeneratedPageCommand


class Command(GeneratedPageCommand):
    help = "Write docs/reference/config.schema.json, for editors, from the rules of config.yaml."
    path = "docs/reference/config.schema.json"
    render = staticmethod(schema_page)
