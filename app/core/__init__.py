"""What every feature stands on: HTTP, the database, the cache, the audit log; nothing about assets."""
