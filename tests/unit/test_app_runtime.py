"""The table of what an app runs on holds together."""

from spawnai.app_runtime import npm_lock, npm_packages


def test_each_package_is_locked_at_the_version_that_is_named():
    locked = npm_lock()["packages"]
    for name, version in npm_packages().items():
        assert locked[f"node_modules/{name}"]["version"] == version


def test_each_file_of_the_closure_has_its_hash_and_names_no_host():
    for path, entry in npm_lock()["packages"].items():
        if path:
            assert entry["integrity"].startswith("sha512-"), path
            assert "resolved" not in entry, path


def test_each_package_that_is_needed_is_in_the_closure():
    locked = npm_lock()["packages"]
    for path, entry in locked.items():
        for name in entry.get("dependencies", {}):
            nested = f"{path}/node_modules/{name}"
            assert nested in locked or f"node_modules/{name}" in locked, (path, name)
