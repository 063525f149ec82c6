"""The rights that count are those of the moment when a plan is applied or shown, not those when it was made."""

from app.core.http.access import Role
from app.core.jobs.runner import runner_of
from app.servers.models import Server
from app.tasks.models import Task
from tests.client import Client
from tests.conftest import SignIn
from tests.factories import Make
from tests.features.conftest import Upload, apply, rows_of
from tests.spread import any_database

pytestmark = any_database


def demote(admin: Client, client: Client) -> None:
    admin.call("PATCH", f"/api/users/{client.user.id}", json={"role": "user"})


def sheets(make: Make, owner: Client) -> dict[str, list[tuple[str, ...]]]:
    """A change of somebody else's server, a container below it, an environment and a server that anybody may add."""
    make(Server, name="theirs", created_by_id=owner.user.id)
    return {
        "Environments": [("Name",), ("lab",)],
        "Servers": [("Name", "OS"), ("theirs", "Debian"), ("new", "Debian")],
        "Containers": [("Name", "Server"), ("c1", "theirs"), ("c2", "new")],
    }


def test_a_plan_of_a_demoted_administrator_is_refused_row_by_row(
    admin: Client, user: Client, sign_in: SignIn, make: Make, upload: Upload
) -> None:
    former = sign_in(role=Role.ADMIN)
    import_ = upload(former, **sheets(make, user))
    assert import_["status"] == "ready"
    demote(admin, former)
    # The rights of the plan's owner count, not those of the administrator who applies it.
    for client in (former, admin):
        refused = apply(client, import_, expect=403)["data"]
        assert refused["reason"] == "not_owner"
        assert {(each["sheet"], each["row"]) for each in refused["conflicts"]} == {
            ("Environments", 2),
            ("Servers", 2),
            ("Containers", 2),
        }
    assert admin.call("GET", "/api/containers")["pagination"]["total"] == 0


def test_a_plan_of_a_deactivated_user_is_refused_before_it_is_queued(
    admin: Client, user: Client, upload: Upload
) -> None:
    import_ = upload(user, Servers=[("Name",), ("new",)])
    admin.call("POST", f"/api/users/{user.user.id}/deactivate", json={})
    refused = apply(admin, import_, expect=409)["data"]
    assert refused["reason"] == "not_applicable"
    assert admin.call("GET", f"/api/imports/{import_['id']}")["data"]["status"] == "ready"


def test_who_is_demoted_while_the_job_waits_applies_nothing(
    admin: Client, user: Client, sign_in: SignIn, make: Make, upload: Upload
) -> None:
    former = sign_in(role=Role.ADMIN)
    import_ = upload(former, **sheets(make, user))
    path = f"/api/imports/{import_['id']}"
    former.call("POST", f"{path}/apply", json={}, expect=202)
    demote(admin, former)
    runner_of(admin.app).run_pending()
    ended = admin.call("GET", path)["data"]
    assert (ended["status"], ended["problem"]["reason"]) == ("failed", "not_owner")
    assert len(ended["problem"]["conflicts"]) == 3
    assert admin.call("GET", "/api/servers")["pagination"]["total"] == 1


def test_a_plan_goes_to_whom_its_parents_were_handed_over(
    admin: Client, user: Client, other: Client, make: Make, upload: Upload
) -> None:
    make(Server, name="mine", created_by_id=user.user.id)
    import_ = upload(user, Containers=[("Name", "Server"), ("c1", "mine")])
    admin.call("POST", f"/api/users/{user.user.id}/transfer", json={"to": other.user.id})
    apply(user, import_, expect=404)
    assert apply(other, import_)["status"] == "applied"


def test_a_plan_shows_no_more_of_private_objects_than_its_owner_sees_now(
    admin: Client, user: Client, sign_in: SignIn, make: Make, upload: Upload
) -> None:
    former = sign_in(role=Role.ADMIN)
    theirs = make(Task, title="secret", description="of somebody", created_by_id=user.user.id)
    make(Task, title="mine", description="old", created_by_id=former.user.id)
    tasks = [("_id", "Title", "Description"), (theirs.id, "secret", "new"), (None, "another", "new")]
    import_ = upload(former, Tasks=tasks)
    before = rows_of(former, import_)
    assert before[0]["changes"]["description"] == {"old": "of somebody", "new": "new"}
    demote(admin, former)
    after = rows_of(former, import_)
    assert after == [{**before[0], "changes": {}}, before[1]]
    assert rows_of(admin, import_) == before
