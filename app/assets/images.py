"""The picture of an asset: kept in a file, named by chance, and deleted when nobody needs it any more."""

import re
import secrets
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import sqlalchemy as sa
from flask import current_app

from app.assets.models import Asset, AssetImage, DescriptionStatus
from app.assets.pictures import Picture
from app.core.db import files
from app.core.db.unit_of_work import commit_now, db
from app.core.errors import NotFound
from app.core.jobs.runner import Runner
from app.core.values import utcnow

URL = "/api/uploads/"
NAME = re.compile(r"[0-9a-f]{32}\.(jpg|png|webp)")
RESERVED = timedelta(hours=1)
"""How long an upload may take from its name to its commit."""
RESTORABLE = timedelta(days=30)
"""How long the picture of a deleted asset is kept, in case that the asset is restored."""

images, assets = AssetImage.__table__, Asset.__table__

_IS_SHOWN = sa.exists().where(assets.c.id == images.c.asset_id, assets.c.image_url == URL + images.c.name)


def register_jobs(runner: Runner) -> None:
    runner.repeat("unneeded pictures", forget_unneeded, every=600)


def keep(asset_id: int, picture: Picture) -> AssetImage:
    """Store a picture that is not yet anybody's; it is gone again unless the transaction that follows commits.

    Its row is committed first: whoever dies from here on leaves a row, whose file is found and deleted.
    """
    image = AssetImage(
        name=f"{secrets.token_hex(16)}.{picture.extension}",
        asset_id=asset_id,
        content_type=picture.content_type,
        created_at=utcnow(),
        delete_at=utcnow() + RESERVED,
    )
    db.session.add(image)
    commit_now()
    files.store(path_of(image.name), picture.content)
    return image


def attach(asset: Asset, image: AssetImage, *, described: bool) -> None:
    """Make a stored picture the asset's, instead of any that it has; `described` says that the provider is asked.

    A description that somebody has written stays: then it is not asked for.
    """
    former = _shown(asset)
    if former is not None and asset.description == former.description:
        image.description = former.description
    _retire(former)
    image.delete_at = None
    asset.image_url = URL + image.name
    asset.description_problem = None
    asset.description_status = None
    if described:
        may_be_replaced = asset.description in (None, image.description)
        asset.description_status = DescriptionStatus.PENDING if may_be_replaced else DescriptionStatus.KEPT
    db.session.flush()


def detach(asset: Asset) -> None:
    """Take the asset's picture away; its description stays. Raises NotFound where there is none."""
    if asset.image_url is None:
        raise NotFound("This asset has no picture.", reason="no_picture")
    _retire(_shown(asset))
    asset.image_url = asset.description_status = asset.description_problem = None
    db.session.flush()


def open_shown(name: str) -> tuple[BinaryIO, str]:
    """The file of a picture that an asset shows, and its content type; raises NotFound."""
    found = None
    if NAME.fullmatch(name):
        found = db.session.scalar(sa.select(images.c.content_type).where(images.c.name == name, _IS_SHOWN))
    if found is None:
        raise NotFound("There is no such picture.")
    try:
        return path_of(name).open("rb"), found
    except FileNotFoundError:
        # Another has just taken its place, or somebody has deleted files.
        raise NotFound("There is no such picture.") from None


def path_of(name: str) -> Path:
    directory: Path = current_app.config["UPLOAD_DIR"]
    return directory / name


def forget_unneeded() -> int:
    """Delete the pictures that nobody has needed for long enough; answers how many.

    Of an upload that was never finished, of an asset that was deleted, and what could not be deleted at once.
    """
    now = utcnow()
    noting = sa.update(images).where(images.c.delete_at.is_(None), ~_IS_SHOWN).values(delete_at=now + RESTORABLE)
    restoring = sa.update(images).where(images.c.delete_at.is_not(None), _IS_SHOWN).values(delete_at=None)
    for statement in (noting, restoring):
        db.session.execute(statement)
    commit_now()
    unneeded = sa.select(images.c.id, images.c.name).where(images.c.delete_at < now, ~_IS_SHOWN).order_by(images.c.id)
    deleted = 0
    while rows := db.session.execute(unneeded.limit(500).with_for_update(skip_locked=True)).all():
        for row in rows:
            path_of(row.name).unlink(missing_ok=True)
            path_of(f"{row.name}.part").unlink(missing_ok=True)
        db.session.execute(sa.delete(images).where(images.c.id.in_([row.id for row in rows])))
        commit_now()
        deleted += len(rows)
    return deleted


def _shown(asset: Asset) -> AssetImage | None:
    if asset.image_url is None:
        return None
    return db.session.scalar(sa.select(AssetImage).where(AssetImage.name == asset.image_url.removeprefix(URL)))


def _retire(image: AssetImage | None) -> None:
    if image is not None:
        image.delete_at = utcnow()
        files.drop(path_of(image.name))
