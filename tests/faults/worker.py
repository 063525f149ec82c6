"""A program that forks workers: a line in starts one and its pid goes out, the next line waits for its end.

Until it is waited for, its number is nobody else's, so that it can be killed without looking. Forking saves the
second that importing the application takes. The parent itself never connects to anything.
"""

import os
import sys
from pathlib import Path

from app import create_app
from app.core.jobs.runner import runner_of
from tests.backends import testing


def main(database_url: str, redis_url: str, uploads: str, prefix: str) -> None:
    app = create_app(testing(database_url, redis_url or None, Path(uploads), prefix))
    say("ready")
    while sys.stdin.readline():
        pid = os.fork()
        if not pid:
            runner_of(app).run_pending()
            os._exit(0)
        say(pid)
        sys.stdin.readline()
        _, status = os.waitpid(pid, 0)
        say(os.waitstatus_to_exitcode(status))


def say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
