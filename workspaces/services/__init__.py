"""The verbs: each is one transaction. Layers: watching > launching > stopping > core."""
