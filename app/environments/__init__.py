"""What servers are for: production, staging, development."""
