"""Environments of servers: production, staging, development."""
