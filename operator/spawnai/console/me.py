"""Who the caller is, as the API server sees it, and what it may do in a namespace."""

import asyncio
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from .api_server import ApiServer, Refused, sessions_path
from .models import Namespace
from .rights import may
from .sessions import CallerOfRequest, Sessions, errors

_MOST_NAMESPACES = 500


class Rights(BaseModel):
    """What the caller may do with sessions in the namespace."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    see: bool
    order: bool
    change: bool
    delete: bool
    logs: bool
    source: bool
    search_all: bool = Field(description="Search the history of all namespaces.")


class MeAnswer(BaseModel):
    """The caller."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    user: str = Field(description="The user's name, as the API server knows it.")
    namespace: str = Field(description="The namespace that the rights are about.")
    namespaces: list[str] = Field(
        description="The namespaces there are; empty when the caller may not list them."
    )
    may: Rights
    refusal: str | None = Field(
        description="Why the caller may not order there, in Kubernetes' own words."
    )


class Me:
    """The route /api/me.

    Args:
        api: who the caller is and what it may do.
        sessions: knows the namespace of a caller who names none.
    """

    def __init__(self, api: ApiServer, sessions: Sessions) -> None:
        self._api = api
        self._sessions = sessions
        self.router = router = APIRouter(tags=["caller"])
        router.add_api_route(
            "/api/me", self.show, methods=["GET"], summary="Show the caller", responses=errors()
        )

    async def show(
        self, caller: CallerOfRequest, namespace: Annotated[Namespace | None, Query()] = None
    ) -> MeAnswer:
        """Who the caller is, and what it may do in a namespace."""
        place = self._sessions.namespace_of(caller, namespace)
        rights = (
            ("see", "list", None),
            ("order", "create", None),
            ("change", "patch", None),
            ("delete", "delete", None),
            ("logs", "get", "log"),
            ("source", "get", "source"),
        )
        user, namespaces, search_all, *allowed = await asyncio.gather(
            self._user(caller.token),
            self._namespaces(caller.token),
            may(self._api, caller, "list", None),
            *(
                may(self._api, caller, verb, place, subresource=subresource)
                for _, verb, subresource in rights
            ),
        )
        may_do = {name: yes for (name, _, _), yes in zip(rights, allowed, strict=True)}
        return MeAnswer(
            user=user,
            namespace=place,
            namespaces=namespaces,
            may=Rights(search_all=search_all, **may_do),
            refusal=None if may_do["order"] else await self._refusal(caller.token, place),
        )

    async def _refusal(self, token: str, namespace: str) -> str | None:
        """What Kubernetes says to an order. It is a dry run of none, and nothing comes of it."""
        path, query = sessions_path(namespace), {"dryRun": "All"}
        try:
            await self._api.call(token, "POST", path, query=query, body={})
        except Refused as error:
            return str(error) if error.status == HTTPStatus.FORBIDDEN else None
        return None

    async def _user(self, token: str) -> str:
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = await self._api.call(
            token, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=review
        )
        return str(answer["status"]["userInfo"]["username"])

    async def _namespaces(self, token: str) -> list[str]:
        query = {"limit": str(_MOST_NAMESPACES)}
        try:
            found = await self._api.call(token, "GET", "/api/v1/namespaces", query=query)
        except Refused:
            return []
        return sorted(str(one["metadata"]["name"]) for one in found["items"])
