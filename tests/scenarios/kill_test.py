"""An agent or the controller dies (SIGKILL) at each step of an upgrade: nothing is lost, one version runs, each hook was done once."""
import pathlib
import subprocess
import threading
import unittest

from harness import SharedScenario, found, run_tests

VERBS = ("drain", "stop", "backup", "migrate", "start", "validate", "contract", "undrain")


class Killed(SharedScenario):
    hosts = "h=2"

    number = 1

    def upgrade_site(self, number, once=()):
        service = self.service("s", "a", version=f"v{number}", data=number, drains=True)
        hook = service["hooks"]["start"]
        service["hooks"]["contract"] = {**hook, "scope": "service"}
        for verb in once:
            service["hooks"][verb] = {**service["hooks"][verb], "idempotent": False}
        return self.site({"a": ["h1", "h2"]}, {"s": service}, {"allowOutage": True}, name=f"v{number}.json")

    def controller_pids(self):
        return subprocess.run(["pgrep", "-f", f"consort controller .*{self.controller_data()}"], capture_output=True, text=True).stdout.split()

    def controller_pid(self):
        pids = self.controller_pids()
        self.assertEqual(len(pids), 1, pids)
        return int(pids[0])

    def deploy(self, site, *arguments):
        """A deploy during which somebody starts the controller again when it has died."""
        ended = threading.Event()
        pid = self.controller_pid()

        def watch():
            while not ended.wait(0.05):
                if not pathlib.Path(f"/proc/{pid}").exists() and not self.controller_pids():
                    self.run_consort("lab", "start", "--dir", str(self.lab), "controller")

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            return super().deploy(site, *arguments)
        finally:
            ended.set()
            watcher.join()

    def prepare_crash(self, version, verb, value, host=None):
        """Without a host it is the first that gets there: which one a rollout begins with is nobody's promise."""
        (self.knobs / "controller.pid").write_text(str(self.controller_pid()))
        self.knob("s", version, verb, value, host=host)

    def running(self, host):
        return [path.read_text().strip() for path in found(self.lab / "hosts" / host, "running") if "services" in path.parts]

    def story(self, mark):
        return "; ".join(f"{e['host']} {e['verb']} {e['version']}" for e in self.journal()[mark:])

    def assert_all_on(self, number, site, states, mark=0):
        for host in ("h1", "h2"):
            self.assertEqual(self.running(host), [f"v{number}"], f"{host}, after {self.story(mark)}")
            self.assertEqual(self.state_of("s", host), states[host], f"{host}, after {self.story(mark)}")
        # An agent that has just come back does not know yet how its services are.
        self.wait_until("all are well", lambda: {row["health"] for row in self.instances().values()} == {"healthy"})
        planned = self.plan(site)
        self.assertEqual((planned.status, planned.json["steps"]), (0, []), str(planned))

    def assert_each_hook_once(self, mark, number, crashed_after):
        """One token per hook and host; run again only where the crash fell between the effect and its record."""
        runs = {}
        for entry in self.journal()[mark:]:
            if entry["verb"] != "validate":
                runs.setdefault((entry["verb"], entry["version"], entry["host"]), []).append(entry["token"])
        for (verb, version, host), tokens in runs.items():
            again = crashed_after == (verb, host)
            self.assertEqual(len(set(tokens)), 1, f"{verb} {version}@{host}: {tokens}")
            self.assertIn(len(tokens), (1, 2) if again else (1,), f"{verb} {version}@{host}: {tokens}")
        contracts = [key for key in runs if key[0] == "contract"]
        self.assertEqual(len(contracts), 1, contracts)
        for verb in ("stop", "backup", "migrate", "start", "drain", "undrain"):
            self.assertEqual(len([key for key in runs if key[0] == verb]), 2, (verb, runs))

    def test_upgrades_with_a_crash_at_each_step(self):
        site = self.upgrade_site(1)
        self.prepare_crash("v1", "setup", "crash-agent-after", host="h1")
        self.knob("s", "v1", "setup", "crash-controller-before", host="h2")
        self.must_deploy(site)
        self.assertEqual(len(list(self.knobs.glob("*.used"))), 2)
        states = {host: "created by v1\n" for host in ("h1", "h2")}
        self.assert_all_on(1, site, states)
        number = 1
        for victim in ("agent", "controller"):
            for moment in ("before", "after"):
                for verb in VERBS:
                    with self.subTest(victim=victim, moment=moment, verb=verb):
                        self.no_knobs()
                        # drain and stop and backup are the old version's.
                        version = f"v{number}" if verb in ("drain", "stop", "backup") else f"v{number + 1}"
                        host = "h1" if verb != "contract" else None
                        self.prepare_crash(version, verb, f"crash-{victim}-{moment}", host=host)
                        mark = self.mark()
                        number += 1
                        site = self.upgrade_site(number)
                        outcome = self.deploy(site)
                        self.assertEqual(outcome.status, 0, str(outcome))
                        self.assertEqual(len(list(self.knobs.glob("*.used"))), 1, "the crash did not happen")
                        states = {h: state + f"migrated up by v{number}\n" for h, state in states.items()}
                        self.assert_all_on(number, site, states, mark)
                        contract_host = next((e["host"] for e in self.journal()[mark:] if e["verb"] == "contract"), None)
                        crashed = (verb, contract_host if verb == "contract" else "h1") if (victim, moment) == ("agent", "after") else None
                        self.assert_each_hook_once(mark, number, crashed)
        self.must_go_back_when_a_hook_may_not_run_twice(number, states)
        self.a_failing_upgrade_survives_crashes_on_its_way_back(number, states)

    def must_go_back_when_a_hook_may_not_run_twice(self, number, states):
        for moment in ("before", "after"):
            self.no_knobs()
            mark = self.mark()
            self.prepare_crash(f"v{number + 1}", "migrate", f"crash-agent-{moment}")
            outcome = self.deploy(self.upgrade_site(number + 1, once=("migrate",)))
            self.assertEqual(outcome.status, 4, str(outcome))
            self.assertEqual(len(list(self.knobs.glob("*.used"))), 1, "the crash did not happen")
            migrated = [e["host"] for e in self.journal()[mark:] if e["verb"] == "migrate"]
            self.assertEqual(len(migrated), {"before": 0, "after": 1}[moment], self.story(mark))
            self.assert_all_on(number, self.upgrade_site(number), states, mark)

    def a_failing_upgrade_survives_crashes_on_its_way_back(self, number, states):
        for victim in ("agent", "controller"):
            for verb, version in (("stop", number + 1), ("restore", number), ("start", number), ("undrain", number)):
                with self.subTest(victim=victim, verb=verb, way="back"):
                    self.no_knobs()
                    mark = self.mark()
                    self.prepare_crash(f"v{version}", verb, f"crash-{victim}-after")
                    self.knob("s", f"v{number + 1}", "validate", 1)
                    outcome = self.deploy(self.upgrade_site(number + 1))
                    self.assertEqual(outcome.status, 4, str(outcome))
                    self.assertEqual(len(list(self.knobs.glob("*.used"))), 1, "the crash did not happen")
                    self.no_knobs()
                    self.assert_all_on(number, self.upgrade_site(number), states, mark)


if __name__ == "__main__":
    run_tests()
