"""The background job that has an asset's image described: the upload neither waits for it nor fails with it."""

from dataclasses import replace

import sqlalchemy as sa
from flask import current_app

from app.assets import ai_provider, image_store
from app.assets.ai_provider import DescriptionFailed
from app.assets.models import Asset, AssetImage, DescriptionStatus
from app.core.db.unit_of_work import act_in, current_context, db, reading, transactional
from app.core.jobs.queue import enqueue
from app.core.jobs.runner import Runner

JOB = "assets.describe"
MAX_PROBLEM_CHARS = 500


def register_jobs(runner: Runner) -> None:
    # A lane of its own: a provider that hangs must not delay imports.
    runner.register(JOB, describe, fail, lane="descriptions")


def request(asset: Asset, image: AssetImage) -> None:
    """Queue the job, to be run after the commit, if the asset's description is pending."""
    if asset.description_status is DescriptionStatus.PENDING:
        enqueue(JOB, image.id)


def describe(image_id: int) -> None:
    """Have an image described and store the description, or the reason why there is none, with its asset."""
    with reading():
        name = db.session.scalar(sa.select(AssetImage.name).where(AssetImage.id == image_id))
    if name is None:
        return
    path = image_store.path_of(name)
    try:
        description = ai_provider.describe_image(path.read_bytes())
    except FileNotFoundError:
        transactional(_store_result)(image_id, problem="The image file is missing. Please upload it again.")
    except DescriptionFailed as failure:
        transactional(_store_result)(image_id, problem=str(failure))
    else:
        transactional(_store_result)(image_id, description=description)


def fail(image_id: int, problem: str) -> None:
    """Store why the runner has given the job up."""
    _store_result(image_id, problem=problem)


def _store_result(image_id: int, *, description: str | None = None, problem: str | None = None) -> None:
    """Store the description or the problem, unless the asset has another image by now, or none.

    A description that a user wrote meanwhile is kept.
    """
    image = db.session.get(AssetImage, image_id)
    asset = None
    if image is not None:
        owner = sa.select(Asset).where(Asset.id == image.asset_id, Asset.image_url == image_store.URL + image.name)
        asset = db.session.scalar(owner.with_for_update().execution_options(populate_existing=True))
    if image is None or asset is None or asset.description_status is not DescriptionStatus.PENDING:
        return
    act_in(replace(current_context(), reason=f"Described by the model {current_app.config['AI_MODEL']}."[:500]))
    asset.description_problem = problem and problem[:MAX_PROBLEM_CHARS]
    if description is None:
        asset.description_status = DescriptionStatus.FAILED
    elif asset.description not in (None, image.description):
        asset.description_status = DescriptionStatus.KEPT
    else:
        asset.description_status = DescriptionStatus.DESCRIBED
        asset.description = image.description = description
