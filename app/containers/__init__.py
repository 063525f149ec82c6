"""Containers, on a server or still unplaced."""
