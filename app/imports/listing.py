"""The list of imports: filtered, sorted and walked as the lists of resources are."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from werkzeug.datastructures import MultiDict

from app.core.db.unit_of_work import db
from app.core.errors import UnknownParameter
from app.core.http.access import current_actor
from app.core.http.envelope import Page
from app.core.messages import tr
from app.imports import service
from app.imports.models import Import
from app.resource import Resource, ResourceSchema, parse_query, select_page


class ImportSchema(ResourceSchema):
    """What a list of imports can be filtered and sorted by; it is shown as `schemas.ImportSchema` says."""

    class Meta(ResourceSchema.Meta):
        model = Import
        exclude = (
            "apply_at_once",
            "done",
            "mapping",
            "match",
            "phase",
            "problem",
            "reversal",
            "settings",
            "sheets",
            "total",
        )


imports = Resource(model=Import, schema=ImportSchema, titles=("Imports", "导入"), search=(Import.filename,))


def select_imports(arguments: MultiDict[str, str]) -> Page:
    """A page of the imports that the acting user may see, the latest first unless they are sorted."""
    if "fields" in arguments:
        raise UnknownParameter(tr("There is no parameter {name}.", name="fields"), parameter="fields", did_you_mean=[])
    query, actor = parse_query(imports, arguments), current_actor()
    if not actor.is_admin:
        query = query.where(created_by_id=actor.id)
    page = select_page(imports, replace(query, sort=query.sort or ("-id",), fields=("id",)))
    ids = [item["id"] for item in page.items]
    by_id: Mapping[int, Import] = {
        import_.id: import_ for import_ in db.session.scalars(sa.select(Import).where(Import.id.in_(ids)))
    }
    names = service.usernames({import_.created_by_id for import_ in by_id.values() if import_.created_by_id})
    items: list[Any] = [service.render(by_id[identity], names) for identity in ids]
    return replace(page, items=items)
