#!/usr/bin/env python3
"""The link graph is the architecture: a room may include only what its CMakeLists.txt declares.

Reads every consort_library() call below src/ and checks each #include "room/…" against the rooms that
the including room links, directly or through those. Also refuses cycles and heavy headers in headers.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent / "src"
HEAVY = re.compile(r'#include <(boost/|sqlite3|systemd/|CLI/|spdlog/|openssl/|libjsonnet|archive|yaml-cpp|zstd)')
INCLUDE = re.compile(r'^#include "([^"]+)"', re.M)
LIBRARY = re.compile(r'consort_library\((\w+)(.*?)\)', re.S)
# Headers that only the .cc files of their own room include.
INTERNAL_HEAVY = {"http/event_loop_impl.h", "http/exchange.h", "http/http1.h", "http/tcp_transport.h",
                  "http/transport.h", "http/connection.h", "http/channel.h", "http/event_reader.h",
                  "crypto/openssl_handle.h"}


def links():
    """room → rooms that it links, direct ones. Two libraries of one folder count as one room."""
    rooms, folders = {}, {}
    for cmake in ROOT.glob("*/CMakeLists.txt"):
        for name, body in LIBRARY.findall(cmake.read_text()):
            match = re.search(r'\bLINKS\b(.*?)(?:PRIVATE_LINKS|SOURCES|$)', re.sub(r'PRIVATE_LINKS.*', '', body, flags=re.S), re.S)
            rooms.setdefault(name, set()).update(match.group(1).split() if match else [])
            folders[name] = cmake.parent.name
    merged = {}
    for name, targets in rooms.items():
        own = folders[name]
        merged.setdefault(own, set()).update(folders.get(t, t) for t in targets if folders.get(t, t) != own)
    return merged


def closure(graph, room, path=()):
    if room in path:
        raise SystemExit(f"architecture: a cycle of rooms: {' → '.join(path + (room,))}")
    out = {room}
    for other in graph.get(room, ()):
        out |= closure(graph, other, path + (room,))
    return out


def main():
    graph = links()
    problems = []
    for room in sorted(graph):
        allowed = closure(graph, room)
        for file in sorted((ROOT / room).rglob("*")):
            if file.suffix not in (".h", ".cc"):
                continue
            text = file.read_text()
            where = file.relative_to(ROOT.parent)
            for include in INCLUDE.findall(text):
                target = include.split("/")[0]
                if "/" in include and (ROOT / target).is_dir() and target not in allowed:
                    problems.append(f'{where}: includes "{include}", but {room} does not link {target}')
            if file.suffix == ".h" and str(file.relative_to(ROOT)) not in INTERNAL_HEAVY:
                for heavy in HEAVY.findall(text):
                    problems.append(f"{where}: a header must stay cheap, it includes <{heavy}…>")
    for problem in problems:
        print(problem)
    print(f"{0 if problems else 1} passed, {1 if problems else 0} failed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
