import pytest

from spawnai.controller.door.reviews import BELIEVED_SECONDS, Access, Denied, Reviews


class ApiServer:
    """Knows one token, whose owner may read one session's log."""

    def __init__(self):
        self.asked = []
        self.granted = True

    async def review_token(self, token):
        self.asked.append("token")
        known = token == "dana's"
        user = {"username": "dana", "uid": "1", "groups": ["team-a"]}
        return {"authenticated": known, "user": user if known else {}}

    async def review_access(self, spec):
        self.asked.append("access")
        wanted = spec["resourceAttributes"]
        return {"allowed": self.granted and spec["user"] == "dana" and wanted["name"] == "clock"}


class Clock:
    seconds = 0.0

    def now(self):
        return self.seconds


LOG = Access("get", "team-a", "clock", "log")


async def test_the_owner_of_a_token_may_do_what_rbac_allows():
    assert await Reviews(ApiServer(), Clock()).require("dana's", LOG) == "dana"


async def test_an_unknown_token_is_401():
    with pytest.raises(Denied) as denied:
        await Reviews(ApiServer(), Clock()).require("nobody's", LOG)
    assert denied.value.status == 401


async def test_what_is_not_allowed_is_403_in_kubernetes_words():
    with pytest.raises(Denied) as denied:
        await Reviews(ApiServer(), Clock()).require(
            "dana's", Access("get", "team-a", "quiz", "log")
        )
    assert denied.value.status == 403
    assert str(denied.value) == (
        'spawnsessions.spawn-ai.com "quiz" is forbidden: User "dana" cannot get resource '
        '"spawnsessions/log" in API group "spawn-ai.com" in the namespace "team-a"'
    )


async def test_what_is_not_allowed_in_all_namespaces_is_said_so():
    with pytest.raises(Denied, match=r"cannot list resource .* at the cluster scope"):
        await Reviews(ApiServer(), Clock()).require("dana's", Access("list", None, "quiz"))


async def test_an_answer_is_believed_for_a_moment_and_a_revoked_right_ends_then():
    server, clock = ApiServer(), Clock()
    reviews = Reviews(server, clock)
    await reviews.require("dana's", LOG)
    await reviews.require("dana's", LOG)
    assert server.asked == ["token", "access"]
    server.granted = False
    clock.seconds = BELIEVED_SECONDS
    with pytest.raises(Denied):
        await reviews.require("dana's", LOG)
