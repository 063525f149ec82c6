"""A row that would come below somebody else's object is an error."""

from app.resource import Resource
from app.resource.fields import Field
from tests.client import Client
from tests.contract.test_parents import each_parent
from tests.factories import RESOURCE_OF, Make
from tests.features.conftest import Upload, errors_of


@each_parent
def test_a_row_below_somebody_elses_object_is_an_error(
    resource: Resource, field: Field, make: Make, user: Client, other: Client, upload: Upload
) -> None:
    target = RESOURCE_OF[field.target]  # type: ignore[index]
    label = target.fields[target.model.label].title
    own = resource.fields[resource.model.label]
    theirs, mine = (
        make(field.target, created_by_id=each.user.id, name=name)  # type: ignore[arg-type]
        for each, name in ((user, "theirs"), (other, "mine"))
    )
    child = make(resource.model, created_by_id=other.user.id, **{field.name: mine.id})
    rows = [
        ("_id", own.title, field.title),
        (child.id, "moved", "theirs"),
        (None, "new", "theirs"),
        (None, "own", "mine"),
    ]
    import_ = upload(other, **{resource.titles[0]: rows})
    assert [error[1:] for error in errors_of(other, import_)] == [(2, "C2", "not_owner"), (3, "C3", "not_owner")]
    # Naming the parent in the file too makes it no less theirs.
    sheets = {target.titles[0]: [(label,), ("theirs",)], resource.titles[0]: [rows[0][1:], rows[2][1:]]}
    import_ = upload(other, **sheets)
    assert [error[3] for error in errors_of(other, import_) if error[0] == resource.titles[0]] == ["not_owner"]
    assert (
        upload(user, form={"apply": "true"}, **{resource.titles[0]: [rows[0][1:], rows[2][1:]]})["status"] == "applied"
    )
    assert theirs.id != mine.id
