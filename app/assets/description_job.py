"""The background job that has an asset's image described: the upload neither waits for it nor fails with it."""

from dataclasses import replace
from datetime import timedelta

import sqlalchemy as sa
from flask import current_app

from app.assets import ai_provider, image_store
from app.assets.ai_provider import DescriptionFailed, ProviderBusy
from app.assets.models import Asset, AssetImage, DescriptionStatus
from app.core.db import files
from app.core.db.unit_of_work import act_in, current_context, db, reading, transactional, writing
from app.core.errors import Conflict
from app.core.jobs.queue import enqueue
from app.core.jobs.runner import Later, Runner
from app.core.messages import tr

JOB = "assets.describe"
MAX_PROBLEM_CHARS = 500
RETRY_DELAYS = tuple(timedelta(seconds=seconds) for seconds in (10, 60, 300, 1800, 7200))
"""How long a busy provider is left alone, if it does not ask for longer."""
MAX_RETRY_DELAY = timedelta(days=1)
"""A provider that asks for longer is not waited for."""


class DescriptionsDisabled(Conflict):
    reason, message = (
        "descriptions_off",
        tr("Images cannot be described: no AI provider is configured (AI_BASE_URL)."),
    )


class WrittenByHand(Conflict):
    reason = "written_by_hand"
    message = tr("A person has written this description. Send replace=true to have it replaced.")


def register_jobs(runner: Runner) -> None:
    # A lane of its own: a provider that hangs must not delay imports.
    runner.register(JOB, describe, fail, lane="descriptions")


def request(asset: Asset, image: AssetImage) -> None:
    """Queue the job, to be run after the commit, if the asset's description is pending."""
    if asset.description_status is DescriptionStatus.PENDING:
        enqueue(JOB, image.id)


def request_again(asset: Asset, *, replace: bool) -> None:
    """Have the image of an asset described anew; one that is pending already stays so.

    Raises DescriptionsDisabled, NotFound without an image, and WrittenByHand unless `replace` says so.
    """
    if not ai_provider.is_configured():
        raise DescriptionsDisabled()
    image = image_store.image_of(asset)
    if image is None:
        raise image_store.NoImage()
    if asset.description_status is DescriptionStatus.PENDING:
        return
    if not asset.may_be_described and not replace:
        raise WrittenByHand()
    # From here on the present text counts as generated: what is written meanwhile is kept.
    asset.generated_description = asset.description
    asset.description_status = DescriptionStatus.PENDING
    asset.description_problem = None
    image.attempts = 0
    db.session.flush()
    request(asset, image)


def describe(image_id: int) -> None:
    """Have an image described and store the description, or the reason why there is none, with its asset.

    Raises Later where the provider is busy or the image cannot be read now.
    """
    with reading():
        name = db.session.scalar(sa.select(AssetImage.name).where(AssetImage.id == image_id))
    if name is None:
        return
    try:
        with files.read(name) as file:
            description = ai_provider.describe_image(file.read())
    except FileNotFoundError:
        transactional(_store_result)(image_id, problem="The image file is missing. Please upload it again.")
    except (ProviderBusy, files.StorageUnavailable) as busy:
        if delay := _next_attempt(image_id, getattr(busy, "retry_after", None)):
            raise Later(delay) from None
        transactional(_store_result)(image_id, problem=str(busy))
    except DescriptionFailed as failure:
        transactional(_store_result)(image_id, problem=str(failure))
    else:
        transactional(_store_result)(image_id, description=description)


def _next_attempt(image_id: int, retry_after: timedelta | None) -> timedelta | None:
    """Count an attempt, and say when the next one is: None if there is none."""
    with writing():
        image = db.session.get(AssetImage, image_id, with_for_update=True)
        if image is None or image.attempts >= len(RETRY_DELAYS):
            return None
        delay = max(RETRY_DELAYS[image.attempts], retry_after or timedelta(0))
        image.attempts += 1
    return delay if delay <= MAX_RETRY_DELAY else None


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
    elif not asset.may_be_described:
        asset.description_status = DescriptionStatus.KEPT
    else:
        asset.description_status = DescriptionStatus.DESCRIBED
        asset.description = asset.generated_description = description
