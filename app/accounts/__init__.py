"""Administration of user accounts: unlock, password reset links, sessions and tokens of others."""
