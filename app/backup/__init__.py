"""Backups: a consistent copy of database, images and checkpoints in one folder, and the way back."""
