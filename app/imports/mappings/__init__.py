"""Saved mappings of columns, used again for sheets with the same titles."""
