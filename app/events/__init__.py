"""The change feed of front ends."""
