"""Personal access tokens, with which scripts authenticate."""
