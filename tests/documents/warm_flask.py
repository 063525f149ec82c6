"""Commands of flask in forks of a process that has imported the application, which takes most of a command's time.

`warm_flask.py serve ADDRESS` answers `warm_flask.py run ADDRESS backup FOLDER`, which ends like `flask backup FOLDER`,
and passes SIGTERM on, with which a worker is stopped.
"""

import os
import signal
import socket
import sys
import threading
from pathlib import Path


def serve(address: str) -> None:
    sys.path.insert(0, str(Path.cwd()))
    from flask.cli import main  # noqa: PLC0415

    import run  # noqa: F401, PLC0415 - for all that it imports

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        while True:
            connection, _ = listener.accept()
            message, streams, *_ = socket.recv_fds(connection, 1 << 20, 3)
            if os.fork():
                connection.close()
                for stream in streams:
                    os.close(stream)
                continue
            arguments, environ = (part.split("\0") for part in message.decode().split("\0\0"))
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            os.environ.clear()
            os.environ.update(entry.split("=", 1) for entry in environ)
            threading.Thread(target=pass_on, args=(connection,), daemon=True).start()
            sys.argv = ["flask", *arguments]
            status = 1
            try:
                main()
            except SystemExit as ended:
                status = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                connection.sendall(bytes([status]))
                os._exit(0)


def pass_on(connection: socket.socket) -> None:
    """Stop this process when the one that has asked for it is to stop."""
    connection.recv(1)
    os.kill(os.getpid(), signal.SIGTERM)


def run(address: str, arguments: list[str]) -> int:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        environ = [f"{name}={value}" for name, value in os.environ.items()]
        socket.send_fds(connection, ["\0\0".join(["\0".join(arguments), "\0".join(environ)]).encode()], [0, 1, 2])
        signal.signal(signal.SIGTERM, lambda *_: connection.shutdown(socket.SHUT_WR))
        (status,) = connection.recv(1) or b"\1"
        return status


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    sys.exit(run(sys.argv[2], sys.argv[3:]))
