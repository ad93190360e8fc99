"""The lists of the API: their pages, orders and queries."""
