"""An S3 server (moto's) as a process of its own, which verifies every signature, and settings that lead to it."""

import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import boto3
import orjson

from tests.server import Server, free_port

Settings = dict[str, Any]
"""Values of the settings, by name."""

RIGHTS = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
SETUP_REQUESTS = 3
"""The requests that create the account. From the next one on, signatures are verified."""


class ObjectStore(NamedTuple):
    endpoint: str
    access_key: str
    secret_key: str

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])

    def client(self) -> Any:
        return _client("s3", self.endpoint, self.access_key, self.secret_key)

    def new_bucket(self) -> str:
        name = f"itam-{secrets.token_hex(6)}"
        self.client().create_bucket(Bucket=name)
        return name

    def settings(self, bucket: str) -> Settings:
        return {
            "STORAGE_URL": f"s3://{bucket}",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "STORAGE_PATH_STYLE": True,
        }

    def names(self, bucket: str) -> list[str]:
        listed = self.client().list_objects_v2(Bucket=bucket)
        return sorted(entry["Key"] for entry in listed.get("Contents", ()))


@contextmanager
def served() -> Iterator[ObjectStore]:
    """Serve until the block ends; its account may do everything with buckets."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environ = {"INITIAL_NO_AUTH_ACTION_COUNT": str(SETUP_REQUESTS), "PATH": ""}
    with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            Server(port, process.pid).wait("/moto-api/")
            yield _set_up(f"http://127.0.0.1:{port}")
        finally:
            process.kill()


def _set_up(endpoint: str) -> ObjectStore:
    accounts = _client("iam", endpoint, "none", "none")
    accounts.create_user(UserName="itam")
    accounts.put_user_policy(UserName="itam", PolicyName="all", PolicyDocument=orjson.dumps(RIGHTS).decode())
    key = accounts.create_access_key(UserName="itam")["AccessKey"]
    return ObjectStore(endpoint, key["AccessKeyId"], key["SecretAccessKey"])


def _client(service: str, endpoint: str, access_key: str, secret_key: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
    )
