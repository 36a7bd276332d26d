"""Apps that pass every check and misbehave when they run. Each ends its harm by itself.

The bounds (3 GiB of memory, 2 GiB of disk, 600 processes for a minute) are above what any tier
allows its apps and below what a test host can bear.
"""

from spawnai_local.claude.library import App

# Answers as an app should, then harms: `__HARM__` is put in its place.
_API = """\
'use strict';

const fs = require('fs');
const http = require('http');
const { spawn } = require('child_process');

const server = http.createServer((request, response) => response.end('still here\\n'));
server.listen(Number(process.env.PORT) || 3000, () => {
  console.log('started, and now it goes wrong: __NAME__');
  __HARM__
});
"""

_API_HARMS = {
    "app-dies-later": """\
setTimeout(() => {
    console.error('the app ends itself five seconds after its start');
    process.exit(3);
  }, 5000);""",
    "app-fills-memory": """\
const kept = [];
  setInterval(() => {
    if (kept.length < 48) kept.push(Buffer.alloc(64 * 1024 * 1024, 1));
  }, 50);""",
    "app-fills-disk": """\
let written = 0;
  setInterval(() => {
    if (written < 64) fs.appendFileSync('filling.bin', Buffer.alloc(32 * 1024 * 1024, 1));
    written += 1;
  }, 50);""",
    "app-forks-without-end": """\
let started = 0;
  setInterval(() => {
    if (started < 600) spawn('sleep', ['60'], { stdio: 'ignore' }).on('error', console.error);
    started += 1;
  }, 10);""",
}

_API_NEVER_ANSWERS = """\
'use strict';

const net = require('net');

// Takes every connection and says nothing.
net.createServer(() => {}).listen(Number(process.env.PORT) || 3000, () => {
  console.log('listening, and never answering');
});
"""

_API_DIES = """\
'use strict';

const http = require('http');

console.log(`starting on port ${process.env.PORT}`);
const settings = JSON.parse('{}');
if (!settings.database) {
  console.error('the configuration makes no sense; giving up');
  process.exit(3);
}
http.createServer((request, response) => response.end('never')).listen(process.env.PORT);
"""

_SCRIPTS = {
    "app-never-answers": """\
import time

print("this script never ends", flush=True)
while time.monotonic() > 0:
    time.sleep(1)
""",
    "app-dies-at-once": """\
import sys

print("starting", flush=True)
print("the configuration makes no sense; giving up", file=sys.stderr)
sys.exit(3)
""",
    "app-fills-memory": """\
import time

print("filling the memory", flush=True)
kept = []
while time.monotonic() > 0:
    if len(kept) < 48:
        kept.append(b"1" * (64 * 1024 * 1024))
    time.sleep(0.05)
""",
    "app-fills-disk": """\
import time

print("filling the disk", flush=True)
with open("filling.bin", "wb", buffering=0) as file:
    for _ in range(64):
        file.write(b"1" * (32 * 1024 * 1024))
        time.sleep(0.05)
while time.monotonic() > 0:
    time.sleep(1)
""",
    "app-forks-without-end": """\
import subprocess
import time

print("starting processes without end", flush=True)
started = []
while time.monotonic() > 0:
    if len(started) < 600:
        started.append(subprocess.Popen(["sleep", "60"]))
    time.sleep(0.01)
""",
}


def misbehaving_app(app_type: str, fault: str) -> App | None:
    """The app that shows this fault; None where an app of the type cannot (a webapp is files)."""
    if app_type == "script" and fault in _SCRIPTS:
        return App("main.py", {"main.py": _SCRIPTS[fault]}, main="main.py")
    if app_type != "api":
        return None
    if fault == "app-never-answers":
        source = _API_NEVER_ANSWERS
    elif fault == "app-dies-at-once":
        source = _API_DIES
    elif fault in _API_HARMS:
        source = _API.replace("__NAME__", fault).replace("__HARM__", _API_HARMS[fault])
    else:
        return None
    return App("server.js", {"server.js": source}, main="server.js")
