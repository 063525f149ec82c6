"""A program that forks workers. A line on stdin starts one and prints its pid; the next line waits for its end.

Until the parent waits for a worker, its pid is not reused, so that the test can kill it safely. Forking saves the
second that importing the application takes. The parent itself opens no connection.
"""

import os
import sys
from pathlib import Path

from app import create_app
from app.core.jobs.runner import runner_of
from tests.backends import testing


def main(database_url: str, redis_url: str, uploads: str, prefix: str) -> None:
    app = create_app(testing(database_url, redis_url or None, Path(uploads), prefix))
    print_line("ready")
    while sys.stdin.readline():
        pid = os.fork()
        if not pid:
            runner_of(app).run_pending()
            os._exit(0)
        print_line(pid)
        sys.stdin.readline()
        _, status = os.waitpid(pid, 0)
        print_line(os.waitstatus_to_exitcode(status))


def print_line(value: object) -> None:
    sys.stdout.write(f"{value}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
