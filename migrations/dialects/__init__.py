"""What migrations do in another way on each database: a module for each, all with the same functions."""
