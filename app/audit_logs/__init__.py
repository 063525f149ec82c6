"""The audit log over HTTP: queries, export, restore."""
