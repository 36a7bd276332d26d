"""The OpenAPI document: FastAPI's own, put right where this API does otherwise."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from .models import Update

REFERENCE = "#/components/schemas/{model}"
_VALIDATION = ("HTTPValidationError", "ValidationError")


def openapi_of(app: FastAPI) -> dict[str, Any]:
    """The document of an application; made once.

    FastAPI says that a wrong parameter is answered with 422 and a body of its own. Here it is 400,
    with the body of every other error.
    """
    if app.openapi_schema is not None:
        return app.openapi_schema
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    for methods in document["paths"].values():
        for operation in methods.values():
            if _VALIDATION[0] in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    schemas = document["components"]["schemas"]
    for name in _VALIDATION:
        schemas.pop(name, None)
    update = Update.model_json_schema(by_alias=True, ref_template=REFERENCE)
    for name, schema in update.pop("$defs", {}).items():
        schemas.setdefault(name, schema)
    schemas["Update"] = update
    app.openapi_schema = document
    return document
