"""A lab of real agents and a controller, and a neutral service whose every verb is written to a journal.

The tests drive the consort program as a user would and look only at journals, state files, exit statuses
and --json output. CONSORT names the program, CONSORT_TEST_PLATFORM the lab's platform (process or nspawn).
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

CONSORT = os.environ.get("CONSORT", str(pathlib.Path(__file__).resolve().parents[2] / "build/release/src/cli/consort"))
PLATFORM = os.environ.get("CONSORT_TEST_PLATFORM", "process")

# The classes of a site whose one host nobody asks for anything.
ONE_HOST = {"a": {"inventory": {"type": "hosts", "hosts": {"h1": {"address": "127.0.0.1"}}}}}

# start, stop, drain … as hooks: each writes {t, host, service, version, verb, status} to the host's journal.
# Knobs are files KNOBS/<service>.<version>.<verb>[@host] that hold an exit status, "hang", or
# "crash-agent-before", "crash-agent-after", "crash-controller-before", "crash-controller-after": SIGKILL for
# the one or the other before or after the verb has its effect; just once: the knob is then NAME.used.
CTL = r"""#!/bin/sh
# neutral service: ctl SERVICE VERSION JOURNAL KNOBS
service=$1; version=$2; journal=$3; knobs=$4; verb=$CONSORT_HOOK
journal=$(echo "$journal" | sed "s/@HOST@/$CONSORT_HOST/")
status=0
for knob in "$knobs/$service.$version.$verb" "$knobs/$service.$version.$verb@$CONSORT_HOST"; do
  [ -f "$knob" ] && status=$(cat "$knob")
done
state=$CONSORT_DATA/state
crash=
case $status in
  crash-*) crash=$status; status=0
    for knob in "$knobs/$service.$version.$verb" "$knobs/$service.$version.$verb@$CONSORT_HOST"; do
      [ -f "$knob" ] && { mv "$knob" "$knob.used" || crash=; }
    done ;;
esac
crash() {
  case $crash in
    crash-agent-$1) kill -9 $PPID; [ "$1" = before ] && exec sleep 1000 ;;
    crash-controller-$1) kill -9 "$(cat "$knobs/controller.pid")" ;;
  esac
}
crash before
case $verb in
  start) [ "$status" = 0 ] && echo "$version" > "$CONSORT_RUN/running" ;;
  stop) rm -f "$CONSORT_RUN/running" ;;
  validate)
    [ -f "$CONSORT_RUN/running" ] || [ "$status" != 0 ] || status=1
    echo "$service $version validates: $status"
    ;;
  setup) echo "created by $version" > "$state" ;;
  backup) cp "$state" "$CONSORT_SNAPSHOT/state" ;;
  restore) cp "$CONSORT_SNAPSHOT/state" "$state" ;;
  migrate)
    grep -qs "$CONSORT_TOKEN" "$CONSORT_DATA/tokens" || echo "migrated $CONSORT_DIRECTION by $version" >> "$state"
    echo "$CONSORT_TOKEN" >> "$CONSORT_DATA/tokens"
    ;;
esac
# The regular health checks would drown the story.
if [ "$verb" != validate ] || [ "$status" != 0 ]; then
  printf '{"t": %s, "host": "%s", "service": "%s", "version": "%s", "verb": "%s", "status": "%s", "token": "%s"}\n' \
    "$(date +%s%N)" "$CONSORT_HOST" "$service" "$version" "$verb" "$status" "$CONSORT_TOKEN" >> "$journal"
fi
crash after
[ "$status" = hang ] && exec sleep 1000
exit "$status"
"""


def found(folder, pattern):
    """Path.rglob() that does not mind folders that vanish meanwhile."""
    for _ in range(1000):
        try:
            return list(folder.rglob(pattern))
        except FileNotFoundError:
            continue
    raise AssertionError(f"{folder} never rests")


class Outcome:
    def __init__(self, process):
        self.status = process.returncode
        self.out = process.stdout
        self.err = process.stderr

    @property
    def json(self):
        return json.loads(self.out.strip().splitlines()[-1])

    def __str__(self):
        return f"exit {self.status}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Scenario(unittest.TestCase):
    """Given hosts (`hosts`), each test writes sites with `site(...)` and deploys them."""

    hosts = "h=2"

    def setUp(self):
        self.open_lab()

    def open_lab(self):
        if not os.path.exists(CONSORT):
            self.fail(f"{CONSORT} is not built: ./dev build")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="consort-scenario-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.make_tools()
        self.lab = self.folder / "lab"
        if PLATFORM == "nspawn":
            # The root file system is made once for all.
            self.environment.pop("XDG_CACHE_HOME")
        self.addCleanup(self.run_consort, "lab", "down", "--dir", str(self.lab))
        up = self.run_consort("lab", "up", "--hosts", self.hosts, "--platform", PLATFORM, "--dir", str(self.lab), "--json", timeout=280)
        self.assertEqual(up.status, 0, str(up))
        self.inventory = self.read_inventory()
        self.wait_for_hosts()

    def make_tools(self):
        self.knobs = self.folder / "knobs"
        self.knobs.mkdir()
        (self.folder / "ctl").write_text(CTL)
        (self.folder / "ctl").chmod(0o755)
        # Nothing of whoever runs the tests is used.
        mine = {name: value for name, value in os.environ.items() if name not in ("CONSORT_CONTROLLER", "CONSORT_CONTEXT")}
        self.environment = {**mine, "XDG_CACHE_HOME": str(self.folder / "cache"), "XDG_CONFIG_HOME": str(self.folder / "config"), "NO_COLOR": "1"}

    # --- the lab ------------------------------------------------------------------------------

    def run_consort(self, *arguments, timeout=120):
        process = subprocess.run([CONSORT, *arguments], capture_output=True, text=True, timeout=timeout, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL)
        return Outcome(process)

    def consort(self, *arguments, timeout=120):
        """The program in the lab's network, with CONSORT_CONTROLLER set."""
        return self.run_consort("lab", "run", "--dir", str(self.lab), "--", CONSORT, *arguments, timeout=timeout)

    def on_host(self, host, *argv):
        return self.run_consort("lab", "exec", "--dir", str(self.lab), host, "--", *argv)

    def lab_verb(self, verb, host):
        outcome = self.run_consort("lab", verb, "--dir", str(self.lab), host)
        self.assertEqual(outcome.status, 0, str(outcome))

    def read_inventory(self):
        hosts = {}
        for line in (self.lab / "hosts.yaml").read_text().splitlines():
            line = line.strip()
            if ": { address: " in line:
                name, rest = line.split(": { address: ")
                hosts[name] = rest.split(",")[0].strip(" }")
        return hosts

    def controller_data(self):
        return self.lab / "controller" / "data"

    def wait_for_hosts(self):
        self.wait_until("every host has joined", lambda: sum(h["reachable"] for h in self.consort("host", "list", "--json").json["hosts"]) == len(self.inventory), 90)

    def wait_until(self, what, condition, limit=30):
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            try:
                if condition():
                    return
            except (ValueError, IndexError, KeyError):
                pass
            time.sleep(0.05)
        self.fail(f"did not happen within {limit} s: {what}")

    # --- sites ----------------------------------------------------------------------------------

    def journal_path(self):
        return "/var/tmp/journal" if PLATFORM == "nspawn" else str(self.folder / "journal-@HOST@")

    def service(self, name, on, version="v1", needs=(), uses=(), data=0, drains=False, **extra):
        """A neutral service, started and stopped by hooks."""
        knobs = "/var/tmp/knobs" if PLATFORM == "nspawn" else str(self.knobs)
        hook = {"path": "ctl", "args": [name, version, self.journal_path(), knobs]}
        hooks = {verb: dict(hook) for verb in ("start", "stop", "validate")}
        if drains:
            hooks.update({verb: dict(hook) for verb in ("drain", "undrain")})
        if data:
            hooks.update({verb: dict(hook) for verb in ("setup", "backup", "restore", "migrate")})
        edge = lambda target: {"service": target, "endpoint": "e"}
        out = {"on": on, "version": version, "provides": {"e": {}}, "hooks": hooks,
               "needs": {n: edge(n) for n in needs}, "uses": {u: edge(u) for u in uses}, "dataVersion": data}
        out.update(extra)
        return out

    def site(self, classes, services, policy=None, name="site.json"):
        """classes: class → host names."""
        document = {
            "name": "scenario",
            "hostClasses": {c: {"inventory": {"type": "hosts", "hosts": {h: {"address": self.inventory.get(h, "127.0.0.9")} for h in hosts}}, "min": 0} for c, hosts in classes.items()},
            "services": services,
            "policy": policy or {},
        }
        path = self.folder / name
        path.write_text(json.dumps(document))
        return str(path)

    def deploy(self, site, *arguments):
        return self.consort("deploy", "--site", site, "--json", "--yes", *arguments)

    def plan(self, site, *arguments):
        return self.consort("plan", "--site", site, "--json", *arguments)

    def must_deploy(self, site, *arguments):
        outcome = self.deploy(site, *arguments)
        self.assertEqual(outcome.status, 0, str(outcome))
        return outcome.json

    def knob(self, service, version, verb, value, host=None):
        name = f"{service}.{version}.{verb}" + (f"@{host}" if host else "")
        (self.knobs / name).write_text(str(value))
        if PLATFORM == "nspawn":
            for each in self.inventory:
                self.on_host(each, "/bin/sh", "-c", f"mkdir -p /var/tmp/knobs; echo {value} > /var/tmp/knobs/{name}")

    def no_knobs(self):
        shutil.rmtree(self.knobs)
        self.knobs.mkdir()
        if PLATFORM == "nspawn":
            for each in self.inventory:
                self.on_host(each, "/bin/rm", "-rf", "/var/tmp/knobs")

    # --- what happened -------------------------------------------------------------------------

    def journal(self):
        """All entries of all hosts, in time order."""
        entries = []
        for host in self.inventory:
            if PLATFORM == "nspawn":
                text = self.on_host(host, "/bin/sh", "-c", "cat /var/tmp/journal 2>/dev/null || true").out
            else:
                path = self.folder / f"journal-{host}"
                text = path.read_text() if path.exists() else ""
            entries += [json.loads(line) for line in text.splitlines()]
        return sorted(entries, key=lambda e: e["t"])

    def story(self, since=0, verbs=("start", "stop")):
        """["start s1@h1", …]"""
        return [f"{e['verb']} {e['service']}@{e['host']}" for e in self.journal()[since:] if e["verb"] in verbs]

    def mark(self):
        return len(self.journal())

    def generation(self):
        return self.consort("status", "--json").json["generation"]

    def state_of(self, service, host):
        if PLATFORM == "nspawn":
            return self.on_host(host, "/bin/cat", f"/var/lib/consort/services/{service}/data/state").out
        states = found(self.lab / "hosts" / host, f"services/{service}/data/state")
        return states[0].read_text() if states else ""

    def instances(self):
        out = {}
        for name, service in self.consort("status", "--json").json["services"].items():
            for row in service["instances"]:
                if row["mode"] != "absent":
                    out[f"{name}@{row['host']}"] = row
        return out


# What a program says that was not ready for something: never what an operator should see.
CRASH = ("terminate called", "Aborted", "core dumped", "AddressSanitizer", "runtime error:", "Segmentation", "a bug:", "Traceback", "std::")


class SharedScenario(Scenario):
    """One lab for all tests of a class; each test leaves it fit for the next one."""

    @classmethod
    def setUpClass(cls):
        cls.keeper = cls("must_be_well")
        cls.addClassCleanup(cls.keeper.doCleanups)
        cls.keeper.open_lab()

    def setUp(self):
        for name in ("folder", "knobs", "lab", "environment", "inventory"):
            setattr(self, name, getattr(self.keeper, name))
        self.no_knobs()

    def controller(self):
        """(address, port) of the lab's controller."""
        url = self.consort_environment()["CONSORT_CONTROLLER"]
        host, port = url.removeprefix("http://").rstrip("/").rsplit(":", 1)
        return host, int(port)

    def consort_environment(self):
        out = self.run_consort("lab", "run", "--dir", str(self.lab), "--", "env").out
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def assert_says(self, outcome, status, *words):
        """The outcome has this exit status, says these words, and nothing that a crash would say."""
        self.assertEqual(outcome.status, status, str(outcome))
        text = outcome.out + outcome.err
        for word in words:
            self.assertIn(word, text)
        self.assert_no_crash(text)

    def assert_no_crash(self, text):
        for word in CRASH:
            self.assertNotIn(word, text)

    def must_be_well(self):
        """After whatever was tried: the controller answers, nothing has crashed, a deploy works."""
        version = f"well{time.monotonic_ns()}"
        self.no_knobs()
        site = self.site({"a": sorted(self.inventory)}, {"well": self.service("well", "a", version=version)}, {"allowOutage": True, "maxUnavailable": "100%"}, name="well.json")
        self.must_deploy(site)
        self.assertEqual(self.plan(site).status, 0)
        for log in found(self.lab, "*log*"):
            if log.is_file() and "services" not in log.parts:
                self.assert_no_crash(log.read_text(errors="replace"))


def run_tests():
    """unittest's main, with the last line that the other tests print too."""
    result = unittest.main(module="__main__", argv=[sys.argv[0], "-v", *sys.argv[1:]], exit=False).result
    failed = len(result.failures) + len(result.errors)
    print(f"{max(0, result.testsRun - failed)} passed, {failed} failed")
    sys.exit(0 if result.wasSuccessful() else 1)
