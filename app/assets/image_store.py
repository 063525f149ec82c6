"""The images of assets: files under random names in the storage, deleted once no asset needs them.

A row of `asset_images` is committed before its file is written and deleted after it, so there is no file without a
row, whenever the process dies. The row's `delete_at` tells the cleanup when the file may go.
"""

import re
import secrets
from datetime import timedelta
from typing import BinaryIO

import sqlalchemy as sa

from app.assets.image_processing import EncodedImage
from app.assets.models import Asset, AssetImage, DescriptionStatus
from app.core.db import files
from app.core.db.unit_of_work import db, transactional, writing
from app.core.errors import NotFound
from app.core.http.dry_run import is_dry_run
from app.core.jobs.runner import Runner
from app.core.messages import tr
from app.core.storage.storage import storage
from app.core.values import utcnow

URL = "/api/uploads/"
NAME = re.compile(r"[0-9a-f]{32}\.(jpg|png|webp)")
UPLOAD_TIMEOUT = timedelta(hours=1)
"""An upload that has not committed after this time is taken for dead."""
DELETED_ASSET_RETENTION = timedelta(days=30)
"""How long the image of a deleted asset is kept, so that it can be restored with the asset."""
CLEANUP_ROWS = 500
"""Files that the cleanup deletes in one transaction."""

images, assets = AssetImage.__table__, Asset.__table__

_IS_SHOWN = sa.exists().where(assets.c.id == images.c.asset_id, assets.c.image_url == URL + images.c.name)


class NoImage(NotFound):
    reason, message = "no_picture", tr("This asset has no image.")


def register_jobs(runner: Runner) -> None:
    runner.repeat("unneeded images", delete_unneeded, every=600)


def store(asset_id: int, encoded: EncodedImage) -> AssetImage:
    """Store an image that no asset shows yet; the file is removed if the transaction that follows rolls back.

    The row is committed before the file is written: if the process dies, the cleanup finds the file by its row.
    A dry run writes no file. Raises StorageUnavailable.
    """
    image = AssetImage(
        name=f"{secrets.token_hex(16)}.{encoded.extension}",
        asset_id=asset_id,
        content_type=encoded.content_type,
        created_at=utcnow(),
        delete_at=utcnow() + UPLOAD_TIMEOUT,
    )
    if is_dry_run():
        db.session.add(image)
        return image
    with writing():
        db.session.add(image)
    files.store(image.name, encoded.content)
    return image


def attach(asset: Asset, image: AssetImage, *, describe: bool) -> None:
    """Make a stored image the asset's image, replacing any other; `describe` asks for a description of it.

    A description that a user wrote is kept, and none is asked for.
    """
    _retire(image_of(asset))
    image.delete_at = None
    asset.image_url = URL + image.name
    asset.description_problem = None
    asset.description_status = None
    if describe:
        asset.description_status = DescriptionStatus.PENDING if asset.may_be_described else DescriptionStatus.KEPT
    db.session.flush()


def detach(asset: Asset) -> None:
    """Remove the asset's image; its description stays. Raises NotFound if there is no image."""
    if asset.image_url is None:
        raise NoImage()
    _retire(image_of(asset))
    asset.image_url = asset.description_status = asset.description_problem = None
    db.session.flush()


def image_of(asset: Asset) -> AssetImage | None:
    """The row of the asset's image, if it has one."""
    if asset.image_url is None:
        return None
    return db.session.scalar(sa.select(AssetImage).where(AssetImage.name == asset.image_url.removeprefix(URL)))


def open_image(name: str) -> tuple[BinaryIO, str]:
    """The file of an asset's current image, and its content type; raises NotFound and StorageUnavailable."""
    content_type = None
    if NAME.fullmatch(name):
        content_type = db.session.scalar(sa.select(images.c.content_type).where(images.c.name == name, _IS_SHOWN))
    if content_type is None:
        raise NotFound(tr("There is no such image."))
    try:
        return files.read(name), content_type
    except FileNotFoundError:
        # Replaced since the query, or the file was deleted by hand.
        raise NotFound(tr("There is no such image.")) from None


def names_in(connection: sa.Connection) -> tuple[set[str], set[str]]:
    """The names of all images that a database knows, and of those among them that an asset shows."""
    names = set(connection.scalars(sa.select(images.c.name)))
    return names, set(connection.scalars(sa.select(images.c.name).where(_IS_SHOWN)))


def delete_unneeded() -> int:
    """Delete the files whose `delete_at` has passed; returns how many.

    They belong to uploads that never committed, to assets deleted DELETED_ASSET_RETENTION ago, or could not be
    deleted when their image was replaced.
    """
    now = utcnow()
    keep_until = now + DELETED_ASSET_RETENTION
    mark_orphans = sa.update(images).where(images.c.delete_at.is_(None), ~_IS_SHOWN).values(delete_at=keep_until)
    unmark_restored = sa.update(images).where(images.c.delete_at.is_not(None), _IS_SHOWN).values(delete_at=None)
    with writing():
        for statement in (mark_orphans, unmark_restored):
            db.session.execute(statement)
    unneeded = sa.select(images.c.id, images.c.name).where(images.c.delete_at < now, ~_IS_SHOWN).order_by(images.c.id)
    deleted = 0
    while count := _delete_files(unneeded.limit(CLEANUP_ROWS)):
        deleted += count
    return deleted


@transactional
def _delete_files(unneeded: sa.Select[tuple[int, str]]) -> int:
    rows = db.session.execute(unneeded.with_for_update(skip_locked=True)).all()
    # If it fails, the rows stay, and the next run deletes what is left.
    storage().delete(row.name for row in rows)
    db.session.execute(sa.delete(images).where(images.c.id.in_([row.id for row in rows])))
    return len(rows)


def _retire(image: AssetImage | None) -> None:
    if image is not None:
        image.delete_at = utcnow()
        files.drop(image.name)
