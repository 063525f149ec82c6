"""Search: the text by which each object is found, in one table that triggers keep up to date."""
