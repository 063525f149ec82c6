"""What the columns of a user's own sheets mean, remembered."""
