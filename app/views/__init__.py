"""Saved views: the filters, the order and the columns of a list, kept under a name."""
