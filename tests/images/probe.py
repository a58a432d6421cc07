"""Run by an image's own Python, as the image's own user, on the image's own files: prints what it found as JSON."""

import json
import os
import stat
import sys

found = {"uid": os.getuid(), "writable": [], "setuid": [], "installers": [], "bytes": {}, "without_bytecode": []}
INSTALLERS = {"pip", "uv", "ensurepip", "python-wheels"}

for folder, folders, files in os.walk("/"):
    if folder == "/":
        folders[:] = [name for name in folders if name not in ("proc", "sys", "dev")]
    for name in folders + files:
        path = os.path.join(folder, name)
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            continue
        if os.access(path, os.W_OK):
            found["writable"].append(path)
        if status.st_mode & (stat.S_ISUID | stat.S_ISGID) and stat.S_ISREG(status.st_mode):
            found["setuid"].append(path)
        if name in INSTALLERS:
            found["installers"].append(path)
        if stat.S_ISREG(status.st_mode):
            part = next((p for p in ("/opt/stylefleet/", "/opt/stylefleet-source/") if path.startswith(p)), "base")
            found["bytes"][part] = found["bytes"].get(part, 0) + status.st_size
            cache = os.path.join(folder, "__pycache__", f"{name[:-3]}.{sys.implementation.cache_tag}.pyc")
            if part != "base" and name.endswith(".py") and not os.path.exists(cache):
                found["without_bytecode"].append(path)

print(json.dumps(found))
