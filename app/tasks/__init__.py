"""Tasks: private to-do items of users about the infrastructure."""
