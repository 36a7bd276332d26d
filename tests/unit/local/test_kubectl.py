import pytest

from spawnai_local.kubectl import Kubectl, KubectlError


def kubectl(directory, script: str) -> Kubectl:
    program = directory / "kubectl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return Kubectl(program, directory / "kubeconfig", directory / "cache")


async def test_a_command_sees_its_own_kubeconfig_and_cache(tmp_path):
    answer = await kubectl(tmp_path, 'echo "$KUBECONFIG $KUBECACHEDIR $*"').run("get", "pods")
    assert answer == f"{tmp_path}/kubeconfig {tmp_path}/cache get pods\n"


async def test_an_error_shows_the_command_and_what_kubectl_said(tmp_path):
    failing = kubectl(tmp_path, 'echo "no such thing" >&2; exit 1')
    with pytest.raises(KubectlError, match="`kubectl get 'a b'` failed: no such thing"):
        await failing.run("get", "a b")


async def test_a_command_that_hangs_is_ended_at_its_limit(tmp_path):
    with pytest.raises(KubectlError, match=r"no answer within 0\.2 s"):
        await kubectl(tmp_path, "exec sleep 60").run("get", "pods", limit_seconds=0.2)


async def test_documents_are_applied_as_a_list(tmp_path):
    answer = await kubectl(tmp_path, "cat").apply({"kind": "A"}, {"kind": "B"})
    assert answer == (
        '{"apiVersion": "v1", "kind": "List", "items": [{"kind": "A"}, {"kind": "B"}]}'
    )


async def test_a_watch_gives_each_event_as_it_comes_and_ends_with_its_reader(tmp_path):
    script = """echo '{"type": "ADDED"}'; echo '{"type": "MODIFIED"}'; exec sleep 60"""
    seen = []
    async for event in kubectl(tmp_path, script).watch("/apis/things"):
        seen.append(event["type"])
        if len(seen) == 2:
            break
    assert seen == ["ADDED", "MODIFIED"]


async def test_a_watch_that_is_refused_says_so(tmp_path):
    refused = kubectl(tmp_path, 'echo "forbidden" >&2; exit 1')
    with pytest.raises(KubectlError, match="forbidden"):
        async for _ in refused.watch("/apis/things"):
            pass
