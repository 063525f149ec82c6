"""Personal access tokens: how scripts sign in."""
