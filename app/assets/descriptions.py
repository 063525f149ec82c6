"""Describing an asset's picture in the background: the upload neither waits for it nor fails with it."""

from dataclasses import replace

import sqlalchemy as sa
from flask import current_app, g

from app.assets import images, provider
from app.assets.models import Asset, AssetImage, DescriptionStatus
from app.assets.provider import NoDescription
from app.core.db.unit_of_work import db, let_go, transactional
from app.core.jobs.queue import enqueue
from app.core.jobs.runner import Runner
from app.core.request_context import current_origin

DESCRIBE = "assets.describe"
MAX_PROBLEM = 500


def register_jobs(runner: Runner) -> None:
    # A provider that hangs must not keep an import waiting.
    runner.register(DESCRIBE, describe, give_up, lane="descriptions")


def request(asset: Asset, image: AssetImage) -> None:
    """Have a picture described once the transaction has committed, where its asset waits for it."""
    if asset.description_status is DescriptionStatus.PENDING:
        enqueue(DESCRIBE, image.id)


def describe(image_id: int) -> None:
    """Ask the provider what a picture shows, and write it down; what goes wrong stands on the asset."""
    image = db.session.get(AssetImage, image_id)
    if image is None:
        return
    path = images.path_of(image.name)
    let_go()
    try:
        description = provider.describe(path.read_bytes())
    except FileNotFoundError:
        conclude(image_id, problem="The picture is gone.")
    except NoDescription as failure:
        conclude(image_id, problem=str(failure))
    else:
        conclude(image_id, description=description)


def give_up(image_id: int, problem: str) -> None:
    conclude(image_id, problem=problem)


@transactional
def conclude(image_id: int, *, description: str | None = None, problem: str | None = None) -> None:
    """Write down what came of it, unless the asset has another picture by now, or none.

    A description that somebody has written meanwhile stays.
    """
    image = db.session.get(AssetImage, image_id)
    asset = None
    if image is not None:
        showing = sa.select(Asset).where(Asset.id == image.asset_id, Asset.image_url == images.URL + image.name)
        asset = db.session.scalar(showing.with_for_update().execution_options(populate_existing=True))
    if image is None or asset is None or asset.description_status is not DescriptionStatus.PENDING:
        return
    g.origin = replace(current_origin(), reason=f"The model {current_app.config['AI_MODEL']} was asked."[:500])
    asset.description_problem = problem and problem[:MAX_PROBLEM]
    if description is None:
        asset.description_status = DescriptionStatus.FAILED
    elif asset.description not in (None, image.description):
        asset.description_status = DescriptionStatus.KEPT
    else:
        asset.description_status = DescriptionStatus.DESCRIBED
        asset.description = image.description = description
