"""The services, in their layers."""
