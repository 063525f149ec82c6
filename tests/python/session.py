"""What a script does with the generated client: sign in, list with filters, walk by cursor, change, and be refused."""

import sys
from http import HTTPStatus

from itam_client import AuthenticatedClient, Client
from itam_client.api.auth import login
from itam_client.api.datacenters import create_datacenter, list_datacenters, update_datacenter
from itam_client.models import (
    DatacenterEnvelope,
    DatacenterFilter,
    DatacenterInput,
    DatacenterPageEnvelope,
    DatacenterPatch,
    DatacenterStale,
    ListDatacentersSortItem,
    Login,
    SignedInEnvelope,
)


def sign_in(address: str, username: str, password: str) -> AuthenticatedClient:
    answer = login.sync(client=Client(address), body=Login(username=username, password=password))
    assert isinstance(answer, SignedInEnvelope), answer
    return AuthenticatedClient(address, token=answer.data.access_token)


def walk(client: AuthenticatedClient, wanted: DatacenterFilter) -> list[str]:
    """The names of the datacenters that match, one on each page."""
    names: list[str] = []
    cursor: str | None = ""
    while isinstance(cursor, str):
        page = list_datacenters.sync(
            client=client, cursor=cursor, page_size=1, sort=[ListDatacentersSortItem.NAME], filter_=wanted
        )
        assert isinstance(page, DatacenterPageEnvelope), page
        names += [each.name for each in page.data]
        cursor = page.pagination.next_cursor or None
    return names


def main(address: str, username: str, password: str) -> None:
    client = sign_in(address, username, password)
    ids = []
    for name in ("SH-1", "SH-2", "BJ-1"):
        created = create_datacenter.sync(client=client, body=DatacenterInput(name=name))
        assert isinstance(created, DatacenterEnvelope), created
        ids.append(created.data.id)
    assert walk(client, DatacenterFilter(name_startswith="SH", id_in=ids)) == ["SH-1", "SH-2"]
    changed = update_datacenter.sync_detailed(
        ids[0], client=client, body=DatacenterPatch(description="first"), if_match='"1"'
    )
    assert changed.status_code is HTTPStatus.OK
    late = update_datacenter.sync(ids[0], client=client, body=DatacenterPatch(description="late"), if_match='"1"')
    assert isinstance(late, DatacenterStale), late
    assert late.data.current.description == "first"
    sys.stdout.write("done\n")


main(*sys.argv[1:])
