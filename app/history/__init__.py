"""What became of one object, for everybody who sees it."""
