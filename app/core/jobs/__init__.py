"""Background jobs: queue, runner, worker process, wake-up messages."""
