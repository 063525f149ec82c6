"""`flask counters`: maintenance of the counters."""

import sys

import click
from flask.cli import AppGroup

from app.core.db.counters.maintenance import rebuild_counters, wrong_numbers
from app.core.db.counters.models import counted_models
from app.core.db.schema import needs_schema
from app.core.db.unit_of_work import reading, writing

counters = AppGroup("counters", help="Look after the numbers of objects that dashboards and facets show.")


@counters.command("verify")
@needs_schema
def verify() -> None:
    """Compare the numbers with the objects: exit code 0 equal, 1 different."""
    wrong = 0
    for model in counted_models():
        with reading():
            numbers = wrong_numbers(model)
        for counter, key in numbers:
            click.echo(f"{model.__tablename__} by {counter}: the number of {key} is wrong.")
        wrong += len(numbers)
    click.echo(f"{wrong} numbers are wrong: run `flask counters rebuild`." if wrong else "The numbers are right.")
    sys.exit(1 if wrong else 0)


@counters.command("rebuild")
@needs_schema
def rebuild() -> None:
    """Count all objects anew. Reads go on meanwhile; a write waits until the objects of its resource are counted."""
    for model in counted_models():
        with writing():
            count = rebuild_counters(model)
        click.echo(f"{model.__tablename__}: {count} numbers")
