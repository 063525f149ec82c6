"""Authentication: login, sessions, refresh tokens, lockout, and one's own account."""
