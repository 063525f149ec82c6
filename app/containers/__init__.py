"""Containers, placed on a server or not yet placed."""
