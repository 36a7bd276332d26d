"""Tags: they stay when nothing carries them, and keep the spelling they were made with."""


async def test_a_tag_is_made_once_and_making_it_again_is_no_error(account):
    for _ in range(2):
        reply = await account.post("/v2/tags", {"name": "class:abc"})
        assert (reply.status, reply.body["tag"]["name"]) == (201, "class:abc")
    assert await account.names("/v2/tags", "tags") == ["class:abc"]


async def test_tags_may_hold_no_dot_slash_or_equals_sign(account):
    for name in ("a.b", "a/b", "a=b", "", "x" * 256, None):
        assert (await account.post("/v2/tags", {"name": name})).status == 422
    assert (await account.post("/v2/tags", {"name": "x" * 255})).status == 201


async def test_a_tag_counts_its_droplets_and_outlives_them(account):
    droplet = await account.active_droplet(tags=["session:1", "spawn-ai"])
    resources = (await account.get("/v2/tags/session:1")).body["tag"]["resources"]
    assert resources["count"] == resources["droplets"]["count"] == 1
    assert resources["last_tagged_uri"].endswith(f"/v2/droplets/{droplet['id']}")
    await account.delete(f"/v2/droplets/{droplet['id']}")
    assert (await account.get("/v2/tags/session:1")).body["tag"]["resources"]["count"] == 0


async def test_names_are_case_stable(account):
    await account.post("/v2/tags", {"name": "PROD"})
    droplet = await account.create_droplet(tags=["prod"])
    assert droplet["tags"] == ["PROD"]
    assert (await account.get("/v2/tags/prod")).status == 404


async def test_droplets_are_tagged_and_untagged(account):
    droplet = await account.active_droplet()
    await account.post("/v2/tags", {"name": "blue"})
    body = {"resources": [{"resource_id": str(droplet["id"]), "resource_type": "droplet"}]}
    assert (await account.post("/v2/tags/blue/resources", body)).status == 204
    assert await account.names(tag_name="blue") == ["web-1"]
    assert (await account.delete("/v2/tags/blue/resources", body)).status == 204
    assert await account.names(tag_name="blue") == []
    assert (await account.post("/v2/tags/nothing/resources", body)).status == 404
    unknown = {"resources": [{"resource_id": "5", "resource_type": "droplet"}]}
    assert (await account.post("/v2/tags/blue/resources", unknown)).status == 404


async def test_deleting_a_tag_takes_it_off_its_droplets_and_leaves_them(account):
    await account.active_droplet(tags=["blue", "red"])
    assert (await account.delete("/v2/tags/blue")).status == 204
    assert (await account.delete("/v2/tags/blue")).status == 404
    droplet = (await account.get("/v2/droplets")).body["droplets"][0]
    assert droplet["tags"] == ["red"]


async def test_the_tags_of_a_new_droplet_show_later_and_a_firewall_of_theirs_covers_it_then(
    account, control, clock
):
    await control.set_delays(tags=2, firewall=3, boot=1)
    await account.post("/v2/tags", {"name": "blue"})
    rule = {"protocol": "tcp", "ports": "80", "sources": {"addresses": ["0.0.0.0/0"]}}
    order = {"name": "fw", "inbound_rules": [rule], "tags": ["blue"]}
    firewall = (await account.post("/v2/firewalls", order)).body["firewall"]
    clock.advance(3)
    droplet = await account.create_droplet(tags=["blue"])
    assert droplet["tags"] == []
    assert await account.names(tag_name="blue") == []
    shown = (await account.get(f"/v2/firewalls/{firewall['id']}")).body["firewall"]
    assert (shown["status"], shown["pending_changes"]) == ("succeeded", [])
    clock.advance(2)
    assert await account.names(tag_name="blue") == ["web-1"]
    shown = (await account.get(f"/v2/firewalls/{firewall['id']}")).body["firewall"]
    assert shown["status"] == "waiting"
    assert [one["droplet_id"] for one in shown["pending_changes"]] == [droplet["id"]]
    clock.advance(3)
    shown = (await account.get(f"/v2/firewalls/{firewall['id']}")).body["firewall"]
    assert shown["status"] == "succeeded"


def of(droplet):
    return {"resources": [{"resource_id": str(droplet["id"]), "resource_type": "droplet"}]}


async def tags_of(account, droplet):
    shown = (await account.get(f"/v2/droplets/{droplet['id']}")).body["droplet"]
    return shown["tags"]


async def test_what_is_tagged_or_untagged_shows_later_and_firewalls_follow_then(
    account, control, clock
):
    droplet = await account.active_droplet(tags=["spare"])
    await control.set_delays(tags=2, firewall=3)
    for name in ("blue", "red"):
        await account.post("/v2/tags", {"name": name})
    rule = {"protocol": "tcp", "ports": "80", "sources": {"addresses": ["0.0.0.0/0"]}}
    order = {"name": "fw", "inbound_rules": [rule], "tags": ["blue"]}
    firewall = (await account.post("/v2/firewalls", order)).body["firewall"]
    clock.advance(3)

    assert (await account.post("/v2/tags/blue/resources", of(droplet))).status == 204
    assert (await account.delete("/v2/tags/spare/resources", of(droplet))).status == 204

    assert await tags_of(account, droplet) == ["spare"]
    assert await account.names(tag_name="spare") == ["web-1"]
    clock.advance(2)
    assert await tags_of(account, droplet) == ["blue"]
    assert await account.names(tag_name="blue") == ["web-1"]
    assert await account.names(tag_name="spare") == []
    shown = (await account.get(f"/v2/firewalls/{firewall['id']}")).body["firewall"]
    assert [one["droplet_id"] for one in shown["pending_changes"]] == [droplet["id"]]


async def test_a_droplet_is_tagged_by_the_first_spelling_of_a_tag_only(account):
    droplet = await account.active_droplet()
    await account.post("/v2/tags", {"name": "PROD"})
    assert (await account.post("/v2/tags/prod/resources", of(droplet))).status == 404
    assert (await account.post("/v2/tags/PROD/resources", of(droplet))).status == 204
    assert (await account.post("/v2/tags/PROD/resources", of(droplet))).status == 204
    assert await tags_of(account, droplet) == ["PROD"]


async def test_what_is_gone_can_be_neither_tagged_nor_untagged(account):
    droplet = await account.active_droplet(tags=["blue"])
    await account.delete(f"/v2/droplets/{droplet['id']}")
    assert (await account.post("/v2/tags/blue/resources", of(droplet))).status == 404
    assert (await account.delete("/v2/tags/blue/resources", of(droplet))).status == 404


async def test_who_tags_a_droplet_needs_the_right_to_change_it(account, control):
    droplet = await account.active_droplet()
    await account.post("/v2/tags", {"name": "blue"})
    for scopes in (["tag:create", "tag:delete"], ["droplet:update"]):
        await control.set_token("local-token", scopes)
        assert (await account.post("/v2/tags/blue/resources", of(droplet))).status == 403
        assert (await account.delete("/v2/tags/blue/resources", of(droplet))).status == 403
    await control.set_token("local-token", ["tag:create", "tag:delete", "droplet:update"])
    assert (await account.post("/v2/tags/blue/resources", of(droplet))).status == 204
