"""Where a page of a list begins: by its number, by a cursor, or after the page before it."""
