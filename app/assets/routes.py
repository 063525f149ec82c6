"""The assets resource, the upload of images and their description by an AI provider."""

from flask import Response, current_app, request

from app.assets import ai_provider, description_job, image_store
from app.assets.image_processing import EncodedImage, InvalidImage, sanitize
from app.assets.models import Asset
from app.assets.schemas import AssetSchema, DescribeQuerySchema, DescriptionSchema, ImageFormSchema, ImageUploadSchema
from app.core.db.files import StorageUnavailable
from app.core.db.unit_of_work import reading
from app.core.errors import Invalid, TooLarge, Unavailable, UnsupportedMediaType
from app.core.http.access import Role, requires
from app.core.http.api import read_form
from app.core.http.envelope import success
from app.core.messages import tr
from app.core.net.http_client import request_slot
from app.resource import Resource, answer, button, check_version, get, resource_blueprint

MEBIBYTE = 1024 * 1024

resource = Resource(
    model=Asset,
    schema=AssetSchema,
    titles=("Assets", "资产", "固定资产", "办公资产"),
    search=(Asset.name, Asset.serial_number, Asset.asset_tag, Asset.model, Asset.assigned_to, Asset.asset_type),
    natural_key=(("asset_tag",), ("serial_number",)),
    name_key=("datacenter_id", "name"),
)
blueprint = resource_blueprint(resource)


class NoDescription(Unavailable):
    reason, message = "no_description", tr("The provider has not described the image.")


class NotAnImage(Invalid):
    reason, message = "not_a_picture", tr("The file is not an image that can be stored.")


@blueprint.post("/<int:asset_id>/image")
@requires(Role.USER)
@blueprint.multipart(ImageUploadSchema)
@blueprint.response(200, AssetSchema)
def upload_asset_image(asset_id: int) -> Response:
    """Upload an asset's image, replacing the current one; a description is generated in the background."""
    # Not in the transaction: a slow upload, or a large image to decode, must not block other writers.
    with reading():
        get(resource, asset_id, to_change=True)
    image = image_store.store(asset_id, _read_image())
    asset = get(resource, asset_id, to_change=True)
    image_store.attach(asset, image, describe=ai_provider.is_configured())
    description_job.request(asset, image)
    return answer(resource, asset_id)


@blueprint.delete("/<int:asset_id>/image")
@requires(Role.USER)
@blueprint.parameter("IfMatch")
@blueprint.stale_response(AssetSchema)
@blueprint.response(200)
def delete_asset_image(asset_id: int) -> None:
    """Remove an asset's image."""
    asset = get(resource, asset_id, to_change=True)
    check_version(resource, asset.id, asset.version, request.headers.get("If-Match"))
    image_store.detach(asset)


@blueprint.post("/<int:asset_id>/describe")
@requires(Role.USER)
@button("Describe again", "重新描述")
@blueprint.arguments(DescribeQuerySchema, location="query")
@blueprint.response(202, AssetSchema)
def describe_again(query: dict[str, bool], asset_id: int) -> Response:
    """Have an asset's image described again, in the background."""
    asset = get(resource, asset_id, to_change=True)
    description_job.request_again(asset, **query)
    return answer(resource, asset_id, 202)


@blueprint.post("/describe")
@requires(Role.USER)
@blueprint.multipart(ImageUploadSchema)
@blueprint.response(200, DescriptionSchema)
def describe_picture() -> Response:
    """Describe an image without storing it; takes up to 20 seconds."""
    if not ai_provider.is_configured():
        raise description_job.DescriptionsDisabled()
    image = _read_image()
    with request_slot():
        try:
            description = ai_provider.describe_image(image.content)
        except ai_provider.DescriptionFailed as failure:
            raise _no_description(failure) from None
    return success({"description": description, "model": current_app.config["AI_MODEL"]})


def _no_description(failure: ai_provider.DescriptionFailed) -> Unavailable:
    error = NoDescription(str(failure))
    if isinstance(failure, ai_provider.ProviderBusy) and failure.retry_after is not None:
        error.headers["Retry-After"] = str(max(1, round(failure.retry_after.total_seconds())))
    return error


def _read_image() -> EncodedImage:
    """The image in the request's form; raises UnsupportedMediaType, TooLarge, Invalid and StorageUnavailable."""
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType(tr("Send the image as multipart/form-data, in the field `file`."))
    try:
        content = _read_file(current_app.config["MAX_UPLOAD_MB"])
    except OSError:
        # Werkzeug spools a large form to a temporary file, and that disk may be full.
        raise StorageUnavailable() from None
    try:
        return sanitize(content)
    except InvalidImage as error:
        raise NotAnImage(error.args[0], errors={"file": [error.args[0]]}) from None


def _read_file(limit_mb: int) -> bytes:
    # 1 MiB for the form around the file.
    request.max_content_length = (limit_mb + 1) * MEBIBYTE
    read_form(ImageFormSchema())
    file = request.files.get("file")
    if file is None:
        raise Invalid(errors={"file": [tr("A file is required.", rule="required")]})
    content = file.stream.read(limit_mb * MEBIBYTE + 1)
    if len(content) > limit_mb * MEBIBYTE:
        raise TooLarge(tr("The image is larger than {limit_mb} MB.", limit_mb=limit_mb))
    return content
