"""What Consort tells a hook on standard input."""
import json
import sys


def need(name):
    """The addresses, hosts and port of an endpoint that the service needs or uses; the new version's if there is one."""
    given = json.load(sys.stdin)
    for side in ("new", "old"):
        found = ((given.get(side) or {}).get("needs") or {}).get(name)
        if found:
            return found
    sys.exit(f"neither version has a need '{name}'")
