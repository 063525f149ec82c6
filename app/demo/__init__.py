"""A sample estate for an empty installation: an import like any other, so that one undo removes it."""
