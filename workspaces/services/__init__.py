"""The services: each call is one transaction. Layers: watching > launching > stopping > core."""
