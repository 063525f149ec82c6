"""The application factory: the whole wiring on one screen."""

from typing import Any

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from app import cli
from app.accounts import routes as accounts
from app.accounts import rules as account_rules
from app.accounts import service as account_service
from app.activity import routes as activity
from app.assets import description_job, image_store
from app.assets.uploads import routes as uploads
from app.audit_logs import change_terms
from app.audit_logs import routes as audit_logs
from app.auth import lock_verifier, sessions
from app.auth import routes as auth
from app.catalog import BLUEPRINTS
from app.console import pages as console
from app.core import tracing
from app.core.audit import recorder, shared_heads
from app.core.cache import backends, generations, numbered, positions, redis_client
from app.core.db import listeners, schema, unit_of_work
from app.core.http import (
    access,
    api,
    application,
    envelope,
    error_handlers,
    idempotency,
    logs,
    metrics,
)
from app.core.http.limits import rate_limiter
from app.core.http.openapi import viewers
from app.core.jobs import counter_folding, pubsub, retention, runner
from app.core.mail import outbox
from app.core.net import geoip
from app.core.storage import storage
from app.dashboard import routes as dashboard
from app.demo import routes as demo
from app.downloads import links
from app.downloads import routes as downloads
from app.events import routes as events
from app.exports import routes as exports
from app.exports.templates import routes as templates
from app.gpus import assignment_verifier, expiry
from app.health import collectors
from app.health import routes as health
from app.history import routes as history
from app.imports import pipeline
from app.imports import routes as imports
from app.imports.formats import service as formats
from app.imports.mappings import routes as mappings
from app.imports.report import routes as reports
from app.imports.report import service as report_service
from app.mails import routes as mails
from app.meta import routes as meta
from app.offboarding import routes as offboarding
from app.proof import live_rows, old_heads, sealer
from app.proof import routes as proof
from app.search import routes as search
from app.services import check_scheduler
from app.tokens import routes as tokens
from app.tokens import service as personal_tokens
from app.tokens import verifier as token_verifier
from app.topology import routes as topology
from app.views import routes as views

_LISTENERS = listeners.Listeners(
    before_flush=recorder.stamp_changes,
    after_flush=recorder.record_changes,
    do_orm_execute=recorder.refuse_bulk_writes,
)

_COMPARISONS = (
    assignment_verifier.compare_assignments,
    lock_verifier.compare_locks,
    token_verifier.compare_tokens,
)


def create_app(config: Any) -> Flask:
    """The application under a configuration: an object whose upper-case attributes are the settings."""
    app = application.Platform(__name__, static_folder=None)
    app.config.from_object(config)
    # For commands that work on a second database.
    app.extensions["factory"] = create_app

    logs.init_app(app)
    tracing.init_app(app)
    application.init_app(app)
    metrics.init_app(app, collectors.collect)
    unit_of_work.init_app(
        app, tables_changing=generations.hold_generations, tables_changed=generations.move_generations
    )
    listeners.attach(app, _LISTENERS, sql_functions={"audit_terms": change_terms.terms_as_json})
    schema.init_app(app)
    for part in (envelope, redis_client, backends, generations, numbered, positions):
        part.init_app(app)
    for part in (rate_limiter, geoip, outbox, pubsub):
        part.init_app(app)
    storage.init_app(app)
    shared_heads.init_app(app)

    token_readers = {personal_tokens.PREFIX: personal_tokens.authenticate}
    account_rules.init_app(app)
    access.init_app(app, access.Readers(session=sessions.who_asks, tokens=token_readers))
    routes = api.init_app(app)
    viewers.init_app(app)
    console.init_app(app)
    for blueprint in BLUEPRINTS:
        routes.register_blueprint(blueprint)
    for feature in (auth, tokens, accounts, uploads, topology, dashboard, search, imports, exports, mappings, reports):
        routes.register_blueprint(feature.blueprint)
    for feature in (templates, audit_logs, proof, events, activity, history, meta, health):
        routes.register_blueprint(feature.blueprint)
    for feature in (offboarding, mails, downloads, views, demo):
        routes.register_blueprint(feature.blueprint)

    jobs = runner.init_app(app)
    for worker in (retention, idempotency, error_handlers, outbox, sealer, pipeline, expiry, check_scheduler):
        worker.register_jobs(jobs)
    for worker in (report_service, image_store, description_job, links, account_service, old_heads, counter_folding):
        worker.register_jobs(jobs)

    formats.init_app(app)
    links.init_app(app)
    live_rows.init_app(app, _COMPARISONS)
    cli.init_app(app)
    if proxies := app.config["TRUSTED_PROXIES"]:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies)  # type: ignore[method-assign]
    return app
