"""The resource kernel: declare a resource once, and its routes, queries, documents and sheets follow.

Features use what `__all__` lists, and nothing below this package. A hand-written action gets its object with
`get(resource, object_id, to_change=True)`, changes it, and ends with `save`, which gives the errors of a PATCH.
"""

from app.core.addresses import ip_address, mac_address
from app.resource.among import select_children
from app.resource.blueprint import readable_blueprint, resource_blueprint
from app.resource.bulk.actions import act_on_all, ids_field, results_schema
from app.resource.bulk.routes import MAX_BULK_MATCHED
from app.resource.bulk.schemas import MAX_BULK_ITEMS
from app.resource.converter import ReferenceSchema
from app.resource.declaration import Resource
from app.resource.expand.actions import Action, actions_of, allowed_if, button
from app.resource.fields import Extensible, Field, Kind, column, reference
from app.resource.formats import color, email, url_or_path, username
from app.resource.json_fields import MAX_ATTRIBUTES, Integer, Moment, Text
from app.resource.objects import get, get_locked, save, set_fields
from app.resource.query.as_of import children_at, ids_at, objects_at, owners_of, read_time
from app.resource.query.documentation import document_list
from app.resource.query.filters import operators_of, unknown
from app.resource.query.list_query import ListQuery, parse_query, sortable
from app.resource.query.parameter_values import QueryTime
from app.resource.query.searched_fields import searched_fields
from app.resource.query.select import parse_conditions, select_page
from app.resource.routes import answer, answer_if_changed
from app.resource.rows import Private, is_visible, sees_own_only
from app.resource.schema import ResourceSchema, Sent
from app.resource.service import check_version, plural, read, singular

__all__ = [
    "MAX_ATTRIBUTES",
    "MAX_BULK_ITEMS",
    "MAX_BULK_MATCHED",
    "Action",
    "Extensible",
    "Field",
    "Integer",
    "Kind",
    "ListQuery",
    "Moment",
    "Private",
    "QueryTime",
    "ReferenceSchema",
    "Resource",
    "ResourceSchema",
    "Sent",
    "Text",
    "act_on_all",
    "actions_of",
    "allowed_if",
    "answer",
    "answer_if_changed",
    "button",
    "check_version",
    "children_at",
    "color",
    "column",
    "document_list",
    "email",
    "get",
    "get_locked",
    "ids_at",
    "ids_field",
    "ip_address",
    "is_visible",
    "mac_address",
    "objects_at",
    "operators_of",
    "owners_of",
    "parse_conditions",
    "parse_query",
    "plural",
    "read",
    "read_time",
    "readable_blueprint",
    "reference",
    "resource_blueprint",
    "results_schema",
    "save",
    "searched_fields",
    "sees_own_only",
    "select_children",
    "select_page",
    "set_fields",
    "singular",
    "sortable",
    "unknown",
    "url_or_path",
    "username",
]
