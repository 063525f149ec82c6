"""Programs that read or edit uploaded files in a child process with limits on memory and time."""
