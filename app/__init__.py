"""The application factory: the whole wiring on one screen."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from flask import Flask
from flask_migrate import Migrate
from werkzeug.middleware.proxy_fix import ProxyFix

from app import cli
from app.assets import descriptions, images
from app.catalog import FOLDERS
from app.core import (
    announcements,
    api,
    browsers,
    cache,
    database,
    docs,
    envelope,
    idempotency,
    job_retention,
    jobs,
    limits,
    logs,
    mail,
    metrics,
    origin,
    places,
    security,
)
from app.gpus import expiry
from app.proof import sealer
from app.services import schedule
from app.transfer.work import register_jobs

FEATURES = (
    *FOLDERS,
    "auth",
    "tokens",
    "accounts",
    "assets.uploads",
    "topology",
    "dashboard",
    "search",
    "transfer",
    "transfer.exports",
    "transfer.mappings",
    "transfer.reports",
    "transfer.templates",
    "audit_logs",
    "proof",
    "events",
    "activity",
    "history",
    "health",
)


class Platform(Flask):
    """Flask without what it asks of every function that it calls: whether it is a coroutine. None of ours is."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func


def create_app(config: Any) -> Flask:
    """The application under a configuration: an object whose upper-case attributes are the settings."""
    app = Platform(__name__, static_folder=None)
    app.config.from_object(config)
    for part in (logs, metrics, database, envelope, origin, browsers, limits, cache, mail, places, api, docs):
        part.init_app(app)
    security.jwt.init_app(app)
    announcements.init_app(app)
    jobs.runner.init_app(app)
    job_retention.register_jobs(jobs.runner)
    register_jobs(jobs.runner)
    expiry.register_jobs(jobs.runner)
    mail.register_jobs(jobs.runner)
    idempotency.register(jobs.runner)
    sealer.register(jobs.runner)
    schedule.register_jobs(jobs.runner)
    images.register_jobs(jobs.runner)
    descriptions.register_jobs(jobs.runner)
    Migrate(app, database.db, render_as_batch=False)
    for feature in FEATURES:
        api.api.register_blueprint(import_module(f"app.{feature}.routes").blueprint)
    cli.init_app(app)
    if proxies := app.config["TRUSTED_PROXIES"]:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies)  # type: ignore[method-assign]
    return app
