"""Settings: defaults, all errors at once, generated secrets, refusals."""

import json
import os
import re
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import create_engine, make_url, text

import config
from app.users.service import admin_setting_errors

A_SECRET = "a" * 32
PRODUCTION = {"FLASK_ENV": "production", "SECRET_KEY": A_SECRET, "JWT_SECRET_KEY": "b" * 32}


def errors(environ: dict[str, str], root: Path) -> dict[str, str]:
    """Return what is wrong with which variable, as the server reports it at its start."""
    with pytest.raises(config.ConfigError) as caught:
        config.load(environ, root=root, checks=[admin_setting_errors])
    return {variable: "; ".join(reasons) for variable, reasons in caught.value.errors.items()}


def test_defaults_are_those_of_the_contract(tmp_path):
    settings = config.load({}, root=tmp_path)

    assert type(settings) is config.DevelopmentConfig
    assert settings.FLASK_ENV == "development"
    assert settings.TESTING is False
    assert settings.SQLALCHEMY_DATABASE_URI == f"sqlite:///{tmp_path}/instance/itam.db"
    assert settings.REDIS_URL is None
    assert (settings.HOST, settings.PORT, settings.WORKERS) == ("127.0.0.1", 5000, 1)
    assert (settings.ADMIN_USERNAME, settings.ADMIN_EMAIL) == ("admin", "admin@localhost")
    assert settings.ADMIN_PASSWORD is None
    assert settings.REGISTRATION_ENABLED is False
    assert settings.CORS_ORIGINS == ()
    assert settings.TRUSTED_PROXIES == 0
    assert settings.BCRYPT_ROUNDS == 12
    assert settings.JWT_ACCESS_TOKEN_EXPIRES == timedelta(minutes=30)
    assert settings.JWT_REFRESH_TOKEN_EXPIRES == timedelta(days=30)
    assert (settings.MAIL_SERVER, settings.AI_BASE_URL, settings.GEOIP_DATABASE) == (None,) * 3
    assert settings.UPLOAD_DIR == tmp_path / "instance" / "uploads"
    assert settings.AUDIT_CHECKPOINTS == tmp_path / "instance" / "checkpoints"
    assert (settings.MAX_UPLOAD_MB, settings.MAX_IMPORT_MB) == (10, 50)
    assert settings.LOG_LEVEL == "INFO"


def test_values_are_read_from_the_environment(tmp_path):
    settings = config.load(
        PRODUCTION
        | {
            "DATABASE_URL": "postgresql://itam:geheim@db/itam",
            "REDIS_URL": "redis://cache:6379/0",
            "HOST": "0.0.0.0",
            "PORT": "8080",
            "WORKERS": "3",
            "REGISTRATION_ENABLED": "Yes",
            "CORS_ORIGINS": "https://App.example.com, http://localhost:5173,",
            "TRUSTED_PROXIES": "2",
            "JWT_ACCESS_MINUTES": "5",
            "JWT_REFRESH_DAYS": "7",
            "MAIL_SERVER": "mail.example.com",
            "MAIL_DEFAULT_SENDER": "IT <it@example.com>",
            "AI_BASE_URL": "http://localhost:11434/",
            "AI_MODEL": "llava",
            "LOG_LEVEL": "debug",
        },
        root=tmp_path,
    )

    assert type(settings) is config.ProductionConfig
    assert settings.SECRET_KEY == A_SECRET
    assert settings.SQLALCHEMY_DATABASE_URI == "postgresql://itam:geheim@db/itam"
    assert (settings.HOST, settings.PORT, settings.WORKERS) == ("0.0.0.0", 8080, 3)
    assert settings.REGISTRATION_ENABLED is True
    assert settings.CORS_ORIGINS == ("https://app.example.com", "http://localhost:5173")
    assert settings.TRUSTED_PROXIES == 2
    assert settings.JWT_ACCESS_TOKEN_EXPIRES == timedelta(minutes=5)
    assert settings.JWT_REFRESH_TOKEN_EXPIRES == timedelta(days=7)
    assert settings.MAIL_DEFAULT_SENDER == "IT <it@example.com>"
    assert settings.AI_BASE_URL == "http://localhost:11434"
    assert settings.LOG_LEVEL == "DEBUG"


def test_outgoing_allowed_takes_networks_addresses_and_names(tmp_path):
    allowed = {"OUTGOING_ALLOWED": " 10.0.0.0/8,FD00::/8, 192.0.2.7 ,Metrics.Internal,,localhost"}
    settings = config.load(allowed, root=tmp_path)
    assert settings.OUTGOING_ALLOWED == ("10.0.0.0/8", "fd00::/8", "192.0.2.7/32", "metrics.internal", "localhost")
    with pytest.raises(config.ConfigError, match=r"an address within the network 10\.0\.0\.0/8"):
        config.load({"OUTGOING_ALLOWED": "10.0.0.1/8"}, root=tmp_path)


def test_settings_feed_flask(tmp_path):
    app = Flask(__name__)
    app.config.from_object(config.load({"MAX_UPLOAD_MB": "70"}, root=tmp_path))

    assert app.config["MAX_CONTENT_LENGTH"] == 71 * 1024 * 1024
    assert app.config["JWT_ACCESS_TOKEN_EXPIRES"] == timedelta(minutes=30)
    assert app.config["TESTING"] is False


def test_blank_value_counts_as_not_set(tmp_path):
    settings = config.load({"PORT": "", "REDIS_URL": "  ", "FLASK_ENV": ""}, root=tmp_path)
    assert (settings.FLASK_ENV, settings.PORT, settings.REDIS_URL) == ("development", 5000, None)


def test_testing_needs_no_setting_and_generates_no_secret(tmp_path):
    settings = config.load({"FLASK_ENV": "testing"}, root=tmp_path)
    assert settings.TESTING is True
    assert settings.BCRYPT_ROUNDS == 4
    assert min(len(settings.SECRET_KEY), len(settings.JWT_SECRET_KEY)) >= 32
    assert make_url(settings.SQLALCHEMY_DATABASE_URI).database is None
    assert not (tmp_path / "instance" / "secrets.json").exists()
    assert vars(config.TestingConfig({}, root=tmp_path)) == vars(settings)


INVALID = {
    "FLASK_ENV": "staging",
    "SECRET_KEY": "short",
    "JWT_SECRET_KEY": "é" * 15,
    "AUDIT_KEY": "short",
    "AUDIT_KEYS_BEFORE": "short,",
    "AUDIT_CHECKPOINTS": "a-file/checkpoints",
    "JWT_ACCESS_MINUTES": "0",
    "JWT_REFRESH_DAYS": "a month",
    "BCRYPT_ROUNDS": "3",
    "DATABASE_URL": "oracle://u:geheim@h/x",
    "DATABASE_REPLICA_URL": "mysql://u:geheim@standby/x",
    "REDIS_URL": "http://cache",
    "HOST": "no.such.host.invalid",
    "PORT": "65536",
    "WORKERS": "-1",
    "JOB_WORKERS": "65",
    "ADMIN_EMAIL": "admin",
    "ADMIN_USERNAME": "ad\nmin",
    "ADMIN_PASSWORD": "p" * 73,
    "REGISTRATION_ENABLED": "maybe",
    "CORS_ORIGINS": "https://a.example,https://b.example/path",
    "TRUSTED_PROXIES": "one",
    "MAIL_PORT": "1_0",
    "MAIL_USE_TLS": "2",
    "MAIL_DEFAULT_SENDER": "nobody",
    "OUTGOING_ALLOWED": "10.0.0.0/33",
    "HEALTH_CHECK_SECONDS": "a minute",
    "HEALTH_CHECK_DAYS": "0",
    "AI_BASE_URL": "localhost:11434",
    "AI_MODEL": "\x07",
    "AI_API_KEY": "schlüssel",
    "GEOIP_DATABASE": "missing.mmdb",
    "UPLOAD_DIR": "a-file/uploads",
    "STORAGE_URL": "s3://Bucket",
    "AWS_ENDPOINT_URL": "minio:9000",
    "AWS_REGION": "eu central",
    "AWS_ACCESS_KEY_ID": "a b",
    "AWS_SECRET_ACCESS_KEY": "schlüssel",
    "STORAGE_PATH_STYLE": "perhaps",
    "MAX_UPLOAD_MB": "0",
    "MAX_IMPORT_MB": "9" * 5000,
    "LOG_LEVEL": "LOUD",
}


def test_a_bucket_replaces_the_folder_of_uploads(tmp_path):
    store = {"STORAGE_URL": "s3://it-assets/images/", "AWS_ENDPOINT_URL": "http://10.0.0.7:9000/"}
    settings = config.load(store, root=tmp_path)
    assert (settings.STORAGE_URL, settings.AWS_ENDPOINT_URL) == ("s3://it-assets/images", "http://10.0.0.7:9000")
    assert (settings.STORAGE_PATH_STYLE, settings.AWS_REGION) == (True, "us-east-1")
    assert settings.UPLOAD_DIR is None
    assert not (tmp_path / "instance" / "uploads").exists()
    settings = config.load({"STORAGE_URL": "s3://it-assets", "STORAGE_PATH_STYLE": ""}, root=tmp_path)
    assert settings.STORAGE_PATH_STYLE is False


@pytest.mark.parametrize(
    "url", ["it-assets", "https://it-assets", "s3://", "s3://a", "s3://b/../c?d", "s3://k:s@bucket"]
)
def test_a_bucket_has_a_url(tmp_path, url):
    assert "s3://bucket/prefix" in errors({"STORAGE_URL": url}, tmp_path)["STORAGE_URL"]


def test_half_a_key_is_refused(tmp_path):
    (variable,) = errors({"AWS_ACCESS_KEY_ID": "key"}, tmp_path)
    assert variable == "AWS_ACCESS_KEY_ID"


def test_every_invalid_value_is_reported_at_once(tmp_path):
    (tmp_path / "a-file").touch()
    assert errors(INVALID, tmp_path).keys() == INVALID.keys()


def test_error_shows_the_value_unless_it_is_secret(tmp_path):
    with pytest.raises(config.ConfigError) as caught:
        config.load(
            {
                "PORT": "http",
                "SECRET_KEY": "geheim",
                "ADMIN_PASSWORD": "geheim",
                "DATABASE_URL": "oracle://u:geheim@h/x",
                "REDIS_URL": "rediss//:geheim@h",
            },
            root=tmp_path,
        )
    assert "PORT='http': must be a whole number from 1 to 65535." in str(caught.value)
    assert "SECRET_KEY: must be at least 32 bytes long." in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_secrets_are_not_in_the_repr(tmp_path):
    settings = config.load(
        PRODUCTION | {"DATABASE_URL": "postgresql://u:geheim@h/x", "ADMIN_PASSWORD": "geheim-123"},
        root=tmp_path,
    )
    assert "geheim" not in repr(settings)
    assert A_SECRET not in repr(settings)


def test_secret_variables_are_hidden_in_errors():
    lines = (config.ROOT / ".env.example").read_text().splitlines()
    names = {line.partition("=")[0] for line in lines if re.match(r"\w*(KEY|KEYS_BEFORE|PASSWORD|TOKEN)=", line)}
    assert names <= config.HIDDEN


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "nonsense"),
        ("DATABASE_URL", "postgres://h/x"),
        ("DATABASE_URL", "postgresql+asyncpg://h/x"),
        ("DATABASE_URL", "postgresql://h:port/x"),
        ("DATABASE_URL", "sqlite:///instance"),
        ("DATABASE_URL", "mysql+mysqldb://h/x"),
        ("DATABASE_URL", "mysql://h"),
        ("DATABASE_URL", "mysql://h/x?charset=latin1"),
        ("DATABASE_URL", "mysql://h/x?init_command=SET"),
        ("DATABASE_URL", "mysql://h/x?ssl_ca=nowhere.pem"),
        ("DATABASE_URL", "mysql://h/x?ssl_check_hostname=maybe"),
        ("DATABASE_URL", "mysql://h/x?unix_socket=/a&unix_socket=/b"),
        ("REDIS_URL", "redis://"),
        ("REDIS_URL", "redis://h:port"),
        ("AI_BASE_URL", "http://[::1"),
        ("AI_BASE_URL", "http://user:geheim@ai.example/v1"),
        ("AI_BASE_URL", "http://ai.example/v1?key=geheim"),
        ("OUTGOING_ALLOWED", "10.0.0.1/8"),
        ("OUTGOING_ALLOWED", "10.0.0.256"),
        ("OUTGOING_ALLOWED", "http://metrics.internal"),
        ("OUTGOING_ALLOWED", "metrics.internal:8080"),
        ("OUTGOING_ALLOWED", "*.internal"),
        ("CORS_ORIGINS", "app.example.com"),
        ("CORS_ORIGINS", "https://app.example.com/"),
        ("PORT", "٨٠"),
        ("PORT", "1e3"),
        ("PORT", "+80"),
        ("ADMIN_PASSWORD", "tooshort1"),
        ("ADMIN_PASSWORD", "no UTF-8: \udcff"),
        ("ADMIN_EMAIL", "a b@example.com"),
        ("ADMIN_EMAIL", "Ada <ada@example.com>"),
        ("ADMIN_USERNAME", "two words"),
    ],
)
def test_invalid_value(tmp_path, name, value):
    (tmp_path / "instance").mkdir()
    related = {"AI_MODEL": "llava"} if name == "AI_BASE_URL" else {}
    assert errors({name: value} | related, tmp_path).keys() == {name}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql+psycopg://u:p%40ss@h:5432/x?sslmode=require"),
        ("DATABASE_URL", "sqlite:///file:memdb?mode=memory&uri=true"),
        ("REDIS_URL", "unix:///run/redis.sock"),
        ("REDIS_URL", "rediss://:p@[::1]:6379/1"),
        ("CORS_ORIGINS", "*"),
        ("HOST", "::1"),
    ],
)
def test_valid_value(tmp_path, name, value):
    settings = config.load({name: value}, root=tmp_path)
    name = {"DATABASE_URL": "SQLALCHEMY_DATABASE_URI"}.get(name, name)
    assert getattr(settings, name) in (value, (value,))


@pytest.mark.parametrize("scheme", ["mysql", "mariadb", "mysql+pymysql", "mariadb+pymysql"])
def test_every_scheme_of_mariadb_means_one_driver(tmp_path, scheme):
    (tmp_path / "ca.pem").touch()
    (tmp_path / "password").write_text("p@ss:/w rd")
    options = "charset=utf8mb4&ssl_ca=ca.pem&ssl_check_hostname=no&unix_socket=/run/mysqld/mysqld.sock"
    given = {
        "DATABASE_URL": f"{scheme}://itam@h:3307/x?{options}",
        "DATABASE_PASSWORD_FILE": str(tmp_path / "password"),
    }
    url = make_url(config.load(given, root=tmp_path).SQLALCHEMY_DATABASE_URI)
    assert (url.drivername, url.password, url.host, url.port, url.database) == (
        "mariadb+pymysql",
        "p@ss:/w rd",
        "h",
        3307,
        "x",
    )
    assert url.query == {
        "ssl_ca": f"{tmp_path}/ca.pem",
        "ssl_check_hostname": "false",
        "unix_socket": "/run/mysqld/mysqld.sock",
    }


def test_a_secret_may_be_in_a_file(tmp_path):
    """As each of them may, whose name is in HIDDEN; a line break at its end is no part of it."""
    (tmp_path / "key").write_text("c" * 40 + "\n")
    (tmp_path / "password").write_text("p@ss:/w rd")
    settings = config.load(
        {
            **PRODUCTION,
            "SECRET_KEY": "",
            "SECRET_KEY_FILE": str(tmp_path / "key"),
            "DATABASE_URL": "postgresql://itam@db/itam",
            "DATABASE_PASSWORD_FILE": str(tmp_path / "password"),
        },
        root=tmp_path,
    )
    assert settings.SECRET_KEY == "c" * 40
    assert make_url(settings.SQLALCHEMY_DATABASE_URI).password == "p@ss:/w rd"


@pytest.mark.parametrize("name", sorted(config.HIDDEN))
def test_a_secret_in_a_file_that_cannot_be_read(tmp_path, name):
    wrong = {**PRODUCTION, name: A_SECRET, f"{name}_FILE": str(tmp_path / "missing")}
    reason = errors(wrong, tmp_path)[f"{name}_FILE"]
    assert f"must not be set together with {name}" in reason
    assert "must name a readable file" in reason


def test_host_name_is_resolved_to_an_address(tmp_path):
    assert config.load({"HOST": "localhost"}, root=tmp_path).HOST == "127.0.0.1"


def test_variable_needs_the_others_of_its_service(tmp_path):
    assert errors({"AI_MODEL": "llava"}, tmp_path) == {"AI_MODEL": "needs AI_BASE_URL to be set too"}
    assert errors({"MAIL_SERVER": "h", "MAIL_USERNAME": "u"}, tmp_path) == {
        "MAIL_USERNAME": "needs MAIL_PASSWORD to be set too"
    }


def test_mail_password_is_sent_encrypted_by_default(tmp_path):
    relay = config.load({"MAIL_SERVER": "h"}, root=tmp_path)
    assert (relay.MAIL_PORT, relay.MAIL_USE_TLS) == (25, False)
    login = {"MAIL_SERVER": "h", "MAIL_USERNAME": "u", "MAIL_PASSWORD": "p"}
    submission = config.load(login, root=tmp_path)
    assert (submission.MAIL_PORT, submission.MAIL_USE_TLS) == (587, True)


def test_admin_password_may_not_be_the_username(tmp_path):
    same = {"ADMIN_USERNAME": "Ada.Lovelace", "ADMIN_PASSWORD": "ada.lovelace"}
    assert errors(same, tmp_path) == {"ADMIN_PASSWORD": "may not be the username"}


def test_errors_found_by_the_application_are_reported_with_the_others(tmp_path):
    assert errors({"PORT": "http", "ADMIN_EMAIL": "admin"}, tmp_path) == {
        "PORT": "must be a whole number from 1 to 65535",
        "ADMIN_EMAIL": "must be an e-mail address",
    }


def test_addresses_that_no_mail_can_be_sent_to_or_from_are_refused(tmp_path):
    messages = errors({"ADMIN_EMAIL": "ädmin@example.com", "MAIL_DEFAULT_SENDER": "IT <ädmin@example.com>"}, tmp_path)
    assert messages["ADMIN_EMAIL"].startswith("mail cannot be sent to this address: ")
    assert messages["MAIL_DEFAULT_SENDER"] == "must be an e-mail address"


def test_import_config_loads_no_module_of_the_application():
    program = "import sys, config; print([name for name in sys.modules if name.split('.')[0] == 'app'])"
    imported = subprocess.check_output([sys.executable, "-c", program], cwd=config.ROOT, text=True)
    assert imported == "[]\n"


def test_the_admin_password_must_meet_the_policy(tmp_path):
    for chosen, reason in (
        ("P@ssw0rd2024", "may not be a well-known password"),
        ("password", "must have at least 10 characters and may not be a well-known password"),
        ("長" * 25, "may have at most 72 bytes and may not be a well-known password"),
    ):
        assert errors({"ADMIN_PASSWORD": chosen}, tmp_path) == {"ADMIN_PASSWORD": reason}


# Secrets


def test_production_refuses_to_start_without_its_secrets(tmp_path):
    config.load({}, root=tmp_path)  # production does not use the secrets that development has generated
    missing = errors({"FLASK_ENV": "production"}, tmp_path)
    assert missing.keys() == {"SECRET_KEY", "JWT_SECRET_KEY"}
    assert "must be set" in missing["SECRET_KEY"]


def test_development_generates_its_secrets_once(tmp_path):
    first = config.load({}, root=tmp_path)
    again = config.load({}, root=tmp_path)

    assert (first.SECRET_KEY, first.JWT_SECRET_KEY) == (again.SECRET_KEY, again.JWT_SECRET_KEY)
    assert first.SECRET_KEY != first.JWT_SECRET_KEY
    assert min(len(first.SECRET_KEY), len(first.JWT_SECRET_KEY)) >= 32
    assert config.load({}, root=tmp_path / "other").SECRET_KEY != first.SECRET_KEY


def test_instance_directory_is_closed_to_other_users(tmp_path):
    config.load({}, root=tmp_path)
    instance = tmp_path / "instance"
    assert stat.S_IMODE(instance.stat().st_mode) == 0o700
    assert stat.S_IMODE((instance / "uploads").stat().st_mode) == 0o700
    assert stat.S_IMODE((instance / "secrets.json").stat().st_mode) == 0o600
    assert {path.name for path in instance.iterdir()} == {"checkpoints", "secrets.json", "uploads"}


def test_secret_that_is_set_overrides_the_generated_one(tmp_path):
    settings = config.load({"SECRET_KEY": A_SECRET}, root=tmp_path)
    secrets = json.loads((tmp_path / "instance" / "secrets.json").read_text())
    assert settings.SECRET_KEY == A_SECRET
    assert secrets["JWT_SECRET_KEY"] == settings.JWT_SECRET_KEY


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"SECRET_KEY": 1}', "null"])
def test_damaged_secrets_file_is_reported_and_not_replaced(tmp_path, content):
    path = tmp_path / "instance" / "secrets.json"
    path.parent.mkdir()
    path.write_text(content)
    reasons = errors({}, tmp_path)
    assert reasons.keys() == {"SECRET_KEY", "JWT_SECRET_KEY"}
    assert f"{path} is damaged" in reasons["SECRET_KEY"]
    assert path.read_text() == content


def test_generated_secret_that_is_too_short_is_refused(tmp_path):
    path = tmp_path / "instance" / "secrets.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"SECRET_KEY": "x" * 31, "JWT_SECRET_KEY": "x" * 32}))
    assert errors({}, tmp_path).keys() == {"SECRET_KEY"}


def test_concurrent_first_starts_share_their_secrets(tmp_path):
    # Each prints when it has imported everything; then all continue together.
    program = (
        "import sys, pathlib, config\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "settings = config.load({}, root=pathlib.Path(sys.argv[1]))\n"
        "print(settings.SECRET_KEY, settings.JWT_SECRET_KEY)\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=config.ROOT,
        )
        for _ in range(6)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    answers = {process.communicate(timeout=30)[0] for process in processes}

    assert len(answers) == 1
    assert [process.returncode for process in processes] == [0] * 6
    assert {path.name for path in (tmp_path / "instance").iterdir()} == {"checkpoints", "secrets.json", "uploads"}


def test_first_of_two_concurrent_secrets_files_wins(tmp_path, monkeypatch):
    # The other process writes its file after we have found none.
    path = tmp_path / "instance" / "secrets.json"
    link = os.link

    def late(source, target):
        path.write_text(json.dumps(dict.fromkeys(config.GENERATED, "theirs" * 8)))
        monkeypatch.setattr(os, "link", link)
        return link(source, target)

    monkeypatch.setattr(os, "link", late)
    assert config.load({}, root=tmp_path).SECRET_KEY == "theirs" * 8


# Workers


@pytest.mark.parametrize("environment", [{}, PRODUCTION])
def test_one_worker_without_redis(tmp_path, environment):
    assert config.load(environment, root=tmp_path).WORKERS == 1
    assert config.load(environment | {"WORKERS": "1"}, root=tmp_path).WORKERS == 1
    reasons = errors(environment | {"WORKERS": "2"}, tmp_path)
    assert reasons.keys() == {"WORKERS"}
    assert "needs REDIS_URL, because" in reasons["WORKERS"]


def test_one_worker_per_core_with_redis(tmp_path):
    redis = PRODUCTION | {"REDIS_URL": "redis://h"}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert config.load(redis, root=tmp_path).WORKERS == cores
    assert config.load(redis | {"WORKERS": "9"}, root=tmp_path).WORKERS == 9


def test_job_workers_need_redis(tmp_path):
    assert config.load({}, root=tmp_path).JOB_WORKERS == 0
    assert config.load({"REDIS_URL": "redis://h"}, root=tmp_path).JOB_WORKERS == 1
    assert config.load({"REDIS_URL": "redis://h", "JOB_WORKERS": "0"}, root=tmp_path).JOB_WORKERS == 0
    reasons = errors({"JOB_WORKERS": "1"}, tmp_path)
    assert reasons == {"JOB_WORKERS": reasons["JOB_WORKERS"]}
    assert "needs REDIS_URL, because" in reasons["JOB_WORKERS"]


def test_a_standby_needs_redis_and_postgresql(tmp_path):
    given = {"DATABASE_URL": "postgresql://db/x", "DATABASE_REPLICA_URL": "postgresql://standby/x"}
    assert (
        config.load(given | {"REDIS_URL": "redis://h"}, root=tmp_path).DATABASE_REPLICA_URL == "postgresql://standby/x"
    )
    assert "needs REDIS_URL" in errors(given, tmp_path)["DATABASE_REPLICA_URL"]
    on_sqlite = {"DATABASE_REPLICA_URL": "postgresql://standby/x", "REDIS_URL": "redis://h"}
    assert "needs PostgreSQL" in errors(on_sqlite, tmp_path)["DATABASE_REPLICA_URL"]


# Paths


@pytest.mark.parametrize("folder", ["var/data", "mit Leerzeichen", "größe", "100%25"])
def test_relative_sqlite_path_starts_at_the_project_root(tmp_path, monkeypatch, folder):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    settings = config.load({"DATABASE_URL": f"sqlite:///{folder}/x.db"}, root=tmp_path)

    engine = create_engine(settings.SQLALCHEMY_DATABASE_URI)
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE t (id int)"))
    engine.dispose()
    assert (tmp_path / folder.replace("%25", "%") / "x.db").is_file()


def test_absolute_sqlite_path_is_kept(tmp_path):
    url = f"sqlite:///{tmp_path}/absolute.db"
    assert config.load({"DATABASE_URL": url}, root=tmp_path / "x").SQLALCHEMY_DATABASE_URI == url


def test_relative_paths_start_at_the_project_root(tmp_path):
    (tmp_path / "places.mmdb").touch()
    settings = config.load({"UPLOAD_DIR": "up", "GEOIP_DATABASE": "places.mmdb"}, root=tmp_path)
    assert settings.UPLOAD_DIR == tmp_path / "up"
    assert settings.GEOIP_DATABASE == tmp_path / "places.mmdb"
    assert settings.UPLOAD_DIR.is_dir()


# .env


def test_dotenv_completes_the_process_environment(tmp_path, monkeypatch):
    for name in ("FLASK_ENV", "TRUSTED_PROXIES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PORT", "6001")
    (tmp_path / ".env").write_text("PORT=6002\nTRUSTED_PROXIES=3\nMAIL_PORT=\n")

    environ = config.process_environment(tmp_path)
    assert (environ["PORT"], environ["TRUSTED_PROXIES"]) == ("6001", "3")
    assert "TRUSTED_PROXIES" not in os.environ

    monkeypatch.setenv("FLASK_ENV", "testing")
    assert "TRUSTED_PROXIES" not in config.process_environment(tmp_path)


def test_example_and_page_list_every_variable(tmp_path):
    lines = (config.ROOT / ".env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    read = re.findall(r"= env\.\w+\(\s*\"(\w+)\"", (config.ROOT / "config.py").read_text())
    assert sorted(example) == sorted(read)
    assert vars(config.load(example, root=tmp_path)) == vars(config.load({}, root=tmp_path))
    introduction, _, tables = (config.ROOT / "docs" / "configuring.md").read_text().partition("## For real use")
    rows = re.findall(r"^\| (`.*?) \|", tables, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(read)
    assert [name for name in config.HIDDEN if f"`{name}`" not in introduction] == []


# Warnings


def test_what_works_in_production_and_is_rarely_meant(tmp_path):
    keys = {name: f"{name}, a secret of at least 32 bytes" for name in ("SECRET_KEY", "JWT_SECRET_KEY", "AUDIT_KEY")}
    meant = {"FLASK_ENV": "production", **keys, "PUBLIC_URL": "https://itam.example", "MAIL_SERVER": "mail.example"}
    assert list(config.warnings(config.load(meant, root=tmp_path))) == []
    for name in ("JWT_SECRET_KEY", "AUDIT_KEY"):
        (warning,) = config.warnings(config.load({**meant, name: meant["SECRET_KEY"]}, root=tmp_path))
        assert "should differ" in warning
    for name, expected in {"PUBLIC_URL": "links in mail", "MAIL_SERVER": "is not sent"}.items():
        (warning,) = config.warnings(config.load({**meant, name: ""}, root=tmp_path))
        assert expected in warning
    assert list(config.warnings(config.load({}, root=tmp_path))) == []
