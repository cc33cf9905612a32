"""A site's commands about tape, for tests: `fake_tape.py FOLDER archive|recall|checksum PATHS…`. Tape is a folder.

`FOLDER/behaviour` is JSON: command → how it behaves: `fail`, `silent`, `slow` (what is asked for is there at the next call),
`lie` (it says what it did not do), `damage` (what it copies is another file), `lost`; nothing is as it should be.
"""

import hashlib
import json
import os
import shutil
import sys


def place(folder: str, path: str) -> str:
    return os.path.join(folder, "tape", path.strip("/").replace("/", "%"))


def copy(source: str, target: str, how: str) -> None:
    if how == "damage":
        with open(source, "rb") as stream:
            content = stream.read()
        with open(target, "wb") as stream:
            stream.write(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        shutil.copy(source, f"{target}.part")
        os.replace(f"{target}.part", target)


def move(folder: str, source: str, target: str, how: str, done: str, under_way: str) -> str:
    if os.path.exists(target):
        return done
    asked = os.path.join(folder, "asked", hashlib.sha256(target.encode()).hexdigest())
    if how == "slow" and not os.path.exists(asked):
        open(asked, "w").close()
        return under_way
    if how == "lie":
        return done
    if not os.path.exists(source):
        return "lost"
    copy(source, target, how)
    return done


def main(folder: str, command: str, *words: str) -> int:
    os.makedirs(os.path.join(folder, "tape"), exist_ok=True)
    os.makedirs(os.path.join(folder, "asked"), exist_ok=True)
    with open(os.path.join(folder, "calls"), "a") as stream:
        stream.write(json.dumps([command, *words]) + "\n")
    with open(os.path.join(folder, "behaviour")) as stream:
        how = json.load(stream).get(command, "")
    if how == "fail":
        print("the tape system is away", file=sys.stderr)
        return 1
    if how == "silent":
        return 0
    paths = words[::2] if command == "recall" else words
    for number, path in enumerate(paths):
        if how == "lost":
            print("lost", path)
        elif command == "archive":
            print(move(folder, path, place(folder, path), how, "tape", "archiving"), path)
        elif command == "recall":
            print(move(folder, place(folder, path), words[2 * number + 1], how, "disk", "staging"), path)
        elif os.path.exists(place(folder, path)):
            with open(place(folder, path), "rb") as stream:
                print(f"sha256:{hashlib.sha256(stream.read()).hexdigest()} {path}")
        elif how == "lie":
            print(f"sha256:{'0' * 64} {path}")
    return 0


sys.exit(main(*sys.argv[1:]))
