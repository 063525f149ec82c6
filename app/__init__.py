"""The application factory: the whole wiring on one screen."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from flask import Flask
from flask_migrate import Migrate
from werkzeug.middleware.proxy_fix import ProxyFix

from app import cli
from app.assets import description_job, image_store
from app.catalog import FOLDERS
from app.core.cache import generations
from app.core.db import unit_of_work
from app.core.http import access, api, docs, envelope, idempotency, logs, metrics, rate_limits, security_headers
from app.core.jobs import pubsub, retention, runner
from app.core.mail import outbox
from app.core.net import geoip
from app.gpus import expiry
from app.imports import pipeline
from app.imports.report import service as reports
from app.proof import sealer
from app.services import check_scheduler

FEATURES = (
    *FOLDERS,
    "auth",
    "tokens",
    "accounts",
    "assets.uploads",
    "topology",
    "dashboard",
    "search",
    "imports",
    "exports",
    "imports.mappings",
    "imports.report",
    "exports.templates",
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
    unit_of_work.init_app(app, tables_changed=generations.announce)
    for part in (
        logs,
        metrics,
        envelope,
        security_headers,
        rate_limits,
        generations,
        outbox,
        geoip,
        api,
        docs,
    ):
        part.init_app(app)
    access.jwt.init_app(app)
    pubsub.init_app(app)
    runner.runner.init_app(app)
    retention.register_jobs(runner.runner)
    pipeline.register_jobs(runner.runner)
    reports.register_jobs(runner.runner)
    expiry.register_jobs(runner.runner)
    outbox.register_jobs(runner.runner)
    idempotency.register(runner.runner)
    sealer.register(runner.runner)
    check_scheduler.register_jobs(runner.runner)
    image_store.register_jobs(runner.runner)
    description_job.register_jobs(runner.runner)
    Migrate(app, unit_of_work.db, render_as_batch=False)
    for feature in FEATURES:
        api.api.register_blueprint(import_module(f"app.{feature}.routes").blueprint)
    cli.init_app(app)
    if proxies := app.config["TRUSTED_PROXIES"]:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies)  # type: ignore[method-assign]
    return app
