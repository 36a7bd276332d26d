"""What a machine finds on its PATH.

The host's own programs, all but those that would change the host or that a fresh droplet does not
have; in their place stand-ins that do to the machine what the real ones do to a droplet.
"""

import os
import shlex
import shutil
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

# Missing on a fresh droplet until apt-get has installed them.
_PACKAGES = {"caddy": ("caddy",), "nodejs": ("node",), "npm": ("npm",)}

_STAND_INS = {
    "apt-get": """\
# Installs what the toolchain has: caddy, nodejs, npm. Everything else is unknown, as in real life
# a package that no source offers.
install=
for argument in "$@"; do
  if [ -n "$skip" ]; then skip=; continue; fi
  case "$argument" in
    -o) skip=1 ;;
    -*) ;;
    install) install=1 ;;
    *)
      [ -n "$install" ] || continue
      packages="$packages ${argument%%=*}"
      [ -d "$tools/${argument%%=*}" ] || {
        echo "E: Unable to locate package $argument (this machine has caddy, nodejs and npm)" >&2
        exit 100
      }
      ;;
  esac
done
for package in $packages; do
  ln -sf "$tools/$package/"* "$root/usr/bin/" || exit 100
  echo "Setting up $package"
done
""",
    "systemctl": """\
# Knows the units in etc/systemd/system; what changes processes is the machine's process's work.
verb= now= units=
for argument in "$@"; do
  case "$argument" in
    --now) now=1 ;;
    -*) ;;
    *) if [ -z "$verb" ]; then verb="$argument"; else units="$units $argument"; fi ;;
  esac
done
folder="$root/etc/systemd/system"
wants="$folder/multi-user.target.wants"
mkdir -p "$wants"
order() { printf '%s\\n' "$*" > "$root/run/orders"; }
case "$verb" in
  poweroff | reboot | halt) [ "$verb" = halt ] && verb=poweroff; order "$verb"; exit 0 ;;
  daemon-reload | reset-failed | is-system-running) exit 0 ;;
esac
for unit in $units; do
  case "$unit" in *.*) ;; *) unit="$unit.service" ;; esac
  case "$verb" in
    mask) ln -sf /dev/null "$folder/$unit"; continue ;;
    unmask) [ -L "$folder/$unit" ] && rm -f "$folder/$unit"; continue ;;
    stop | disable) ;;
    *)
      if [ ! -f "$folder/$unit" ]; then
        echo "Failed to $verb $unit: Unit $unit not found." >&2
        exit 5
      fi
      ;;
  esac
  case "$verb" in
    enable) ln -sf "../$unit" "$wants/$unit"; [ -z "$now" ] || order start "$unit" ;;
    disable) rm -f "$wants/$unit"; [ -z "$now" ] || order stop "$unit" ;;
    start | stop | restart) order "$verb" "$unit" ;;
    *) echo "systemctl $verb is not known to this machine" >&2; exit 1 ;;
  esac
done
""",
    "systemd-run": """\
# Runs the command as a unit of the machine, in the background.
while [ $# -gt 0 ]; do
  case "$1" in --) shift; break ;; -*) shift ;; *) break ;; esac
done
command="$root/run/command.$$"
printf '%s\\0' "$@" > "$command"
printf 'run %s\\n' "$command" > "$root/run/orders"
""",
    "poweroff": "printf 'poweroff\\n' > \"$root/run/orders\"\n",
    "shutdown": "printf 'poweroff\\n' > \"$root/run/orders\"\n",
    "reboot": "printf 'reboot\\n' > \"$root/run/orders\"\n",
    "passwd": "# The host's passwords are not a machine's to change.\nexit 0\n",
    "useradd": "# One user owns everything in a machine.\nexit 0\n",
}

# Beside the stand-ins: what could reach past the machine, or hide that something is not installed.
_LEFT_OUT = {
    *("apt", "dpkg", "snap", "halt", "init", "telinit", "cloud-init", "sudo", "su"),
    *("adduser", "chpasswd", "groupadd", "usermod", "iptables", "nft", "ufw", "mount", "umount"),
    *("npx", "nodejs", "corepack", "docker", "podman"),
}

# From the person's shell to npm alone: where its registry is and how it is reached.
_FOR_NPM = (
    "npm_config_",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "node_extra_ca_certs",
    "ssl_cert_",
)


class Userland:
    """The programs that all machines of one host share; made once, in `directory`."""

    def __init__(
        self,
        directory: Path,
        *,
        caddy: Path,
        node: Path,
        npm: Path,
        npm_cache: Path,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._directory = directory
        self._programs = directory / "bin"
        self._stand_ins = directory / "stand-ins"
        tools = directory / "packages"
        if directory.exists():
            shutil.rmtree(directory)
        for folder in (self._programs, self._stand_ins, tools):
            folder.mkdir(parents=True)
        for package in _PACKAGES:
            (tools / package).mkdir()
        (tools / "caddy" / "caddy").symlink_to(caddy.resolve())
        (tools / "nodejs" / "node").symlink_to(node.resolve())
        _write_program(tools / "npm" / "npm", npm_program(npm, npm_cache, environment))
        header = f'#!/bin/sh\nroot="${{0%/usr/bin/*}}" tools={shlex.quote(str(tools))}\n'
        for name, body in _STAND_INS.items():
            _write_program(self._stand_ins / name, header + body)
        self._link_host_programs()

    def furnish(self, root: Path, python: Path) -> None:
        """Give a new machine its own programs: the stand-ins and Python."""
        own = root / "usr" / "bin"
        own.mkdir(parents=True, exist_ok=True)
        for stand_in in self._stand_ins.iterdir():
            _lead(own / stand_in.name, stand_in)
        _lead(own / "python3", python)

    def search_path(self, root: Path) -> str:
        """A machine's PATH."""
        return f"{root}/usr/local/bin:{root}/usr/bin:{self._programs}"

    def _link_host_programs(self) -> None:
        hidden = {*_LEFT_OUT, *_STAND_INS, "python3"}
        hidden |= {name for names in _PACKAGES.values() for name in names}
        for folder in ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"):
            for program in sorted(Path(folder).iterdir()) if Path(folder).is_dir() else ():
                link = self._programs / program.name
                if program.name not in hidden and not link.is_symlink():
                    link.symlink_to(program)


def npm_program(npm: Path, cache: Path, environment: Mapping[str, str] = os.environ) -> str:
    """npm with the person's own settings, and one cache for all machines."""
    settings = {
        name: value for name, value in environment.items() if name.lower().startswith(_FOR_NPM)
    }
    home = Path(environment.get("HOME") or Path.home())
    settings.setdefault("npm_config_userconfig", str(home / ".npmrc"))
    if (host_settings := _host_npm_settings(environment)) is not None:
        settings.setdefault("npm_config_globalconfig", host_settings)
    settings["npm_config_cache"] = str(cache)
    settings["npm_config_prefer_offline"] = "true"
    settings["npm_config_update_notifier"] = "false"
    # A warning about this computer's own settings (such as an unknown `nodedir`) is none of an
    # app's: it would stand in the sentence that a person reads when an app fails.
    settings.setdefault("npm_config_loglevel", "error")
    exports = "".join(f"export {k}={shlex.quote(v)}\n" for k, v in sorted(settings.items()))
    return f'#!/bin/sh\n{exports}exec node {shlex.quote(str(npm.resolve()))} "$@"\n'


def _host_npm_settings(environment: Mapping[str, str]) -> str | None:
    """The npmrc for all users of this host, where its own npm has one."""
    npm = shutil.which("npm", path=environment.get("PATH"))
    if npm is None:
        return None
    try:
        answer = subprocess.run(
            [npm, "config", "get", "globalconfig"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            env=dict(environment),
        )
    except (OSError, subprocess.SubprocessError):
        return None
    path = answer.stdout.strip()
    return path if Path(path).is_file() else None


def _lead(link: Path, target: Path) -> None:
    """A machine that begins with another one's disk has it already."""
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
