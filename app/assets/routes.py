"""The asset resource: its pictures, and what an AI provider says of them."""

from flask import Response, current_app, request

from app.assets import descriptions, images, provider
from app.assets.models import Asset
from app.assets.pictures import NotAPicture, Picture, clean_picture
from app.assets.schemas import AssetSchema, DescriptionSchema, PictureSchema, PictureUploadSchema
from app.core.db.files import StorageUnavailable
from app.core.db.unit_of_work import let_go
from app.core.errors import Conflict, Invalid, TooLarge, Unavailable, UnsupportedMediaType
from app.core.http.access import Role, requires
from app.core.http.envelope import success
from app.core.http.request_parsing import read_form
from app.core.net.http_client import waiting
from app.resource import Resource, resource_blueprint
from app.resource.routes import ETAG, IF_MATCH, answer
from app.resource.service import check_version, get

MEBIBYTE = 1024 * 1024

resource = Resource(
    name="assets",
    model=Asset,
    schema=AssetSchema,
    titles=("Assets", "资产", "固定资产", "办公资产"),
    search=(Asset.name, Asset.serial_number, Asset.asset_tag, Asset.model, Asset.assigned_to),
    natural_key=(("asset_tag",), ("datacenter_id", "name"), ("serial_number",)),
)
blueprint = resource_blueprint(resource)


class DescriptionsOff(Conflict):
    reason, message = "descriptions_off", "Pictures are not described here: no AI provider is configured."


@blueprint.post("/<int:asset_id>/image")
@requires(Role.USER)
@blueprint.multipart(PictureUploadSchema)
@blueprint.response(200, AssetSchema, headers=ETAG)
def upload_image(asset_id: int) -> Response:
    """Give an asset a picture, instead of the one that it has; it is described in the background."""
    get(resource, asset_id, to_change=True)
    # Neither a slow upload nor a large picture keeps others from writing.
    let_go()
    image = images.keep(asset_id, _read_picture())
    asset = get(resource, asset_id, to_change=True)
    images.attach(asset, image, described=provider.is_configured())
    descriptions.request(asset, image)
    return answer(resource, asset_id)


@blueprint.delete("/<int:asset_id>/image")
@requires(Role.USER)
@blueprint.header(IF_MATCH)
@blueprint.response(200)
def delete_image(asset_id: int) -> None:
    """Take an asset's picture away."""
    asset = get(resource, asset_id, to_change=True)
    check_version(resource, asset, request.headers.get("If-Match"))
    images.detach(asset)


@blueprint.post("/describe")
@requires(Role.USER)
@blueprint.multipart(PictureUploadSchema)
@blueprint.response(200, DescriptionSchema)
def describe() -> Response:
    """Have a picture described that is not kept, and wait for it: 20 seconds at most."""
    if not provider.is_configured():
        raise DescriptionsOff()
    let_go()
    picture = _read_picture()
    with waiting():
        try:
            description = provider.describe(picture.content)
        except provider.NoDescription as failure:
            raise Unavailable(str(failure), reason="no_description") from None
    return success({"description": description, "model": current_app.config["AI_MODEL"]})


def _read_picture() -> Picture:
    """The picture in the request's form; raises UnsupportedMediaType, TooLarge, Invalid and StorageUnavailable."""
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType("Send the picture as multipart/form-data.")
    try:
        content = _read_file(current_app.config["MAX_UPLOAD_MB"])
    except OSError:
        # A large form is kept in a file while it comes in.
        raise StorageUnavailable() from None
    try:
        return clean_picture(content)
    except NotAPicture as problem:
        raise Invalid(str(problem), reason="not_a_picture", errors={"file": [str(problem)]}) from None


def _read_file(limit_mb: int) -> bytes:
    # Beside the file there is only the form around it.
    request.max_content_length = (limit_mb + 1) * MEBIBYTE
    read_form(PictureSchema())
    file = request.files.get("file")
    if file is None:
        raise Invalid(errors={"file": ["A file is required."]})
    content = file.stream.read(limit_mb * MEBIBYTE + 1)
    if len(content) > limit_mb * MEBIBYTE:
        raise TooLarge(f"The picture is larger than {limit_mb} MB.")
    return content
