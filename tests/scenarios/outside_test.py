"""Consort against what others made: Ansible's own inventory program, and a JSON Schema validator."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import _jsonnet
import jsonschema
from harness import CONSORT, run_tests

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Outside(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="consort-outside-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def run_consort(self, *arguments):
        environment = {**os.environ, "XDG_CACHE_HOME": str(self.folder / "cache"), "NO_COLOR": "1"}
        return subprocess.run([CONSORT, *arguments], capture_output=True, text=True, cwd=self.folder, env=environment, timeout=60)


class Ansible(Outside):
    INI = """
mail.example.com ansible_host=10.0.0.9

[web]
web1 ansible_host=10.0.0.1 rack=r1
web[2:3].example.com rack=r2

[db]
db1 ansible_host=10.0.1.1 size=3

[east:children]
web
db

[east:vars]
datacenter=east

[web:vars]
tier=front
"""

    def test_hosts_groups_children_and_variables_of_an_ini_file(self):
        self.assertTrue(shutil.which("ansible-inventory"), "ansible-inventory is missing: apt-get install ansible-core")
        (self.folder / "hosts.ini").write_text(self.INI)
        inventory = lambda group: {"type": "exec", "argv": ["ansible-inventory", "-i", "hosts.ini", "--list"], "group": group}
        file = lambda name: {"type": "file", "path": "/var/lib/consort/where", "content": "${host.name} ${host.address} ${host.labels.datacenter} ${host.labels.tier} ${host.labels.rack}"}
        service = lambda group: {"on": group, "daemon": {"argv": ["/bin/x"]}, "resources": {"where": file(group)} if group == "web" else {}}
        site = {"name": "x", "hostClasses": {name: {"inventory": inventory(name)} for name in ("web", "db", "east")}, "services": {f"s-{name}": service(name) for name in ("web", "db", "east")}}
        # Variables of a host, of its group and of a group above it become labels.
        guards = {"rack=r1": ["web1"], "rack=r2,tier=front": ["web2.example.com", "web3.example.com"], "datacenter=east": ["web1", "web2.example.com", "web3.example.com"]}
        for i, guard in enumerate(guards):
            site["services"][f"guarded{i}"] = {**service("web"), "resources": {}, "when": guard}
        site["services"]["sized"] = {**service("db"), "when": "size=3,datacenter=east"}
        (self.folder / "site.json").write_text(json.dumps(site))
        checked = self.run_consort("check", "--site", "site.json", "--json")
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        hosts = {}
        for name in ("web", "db", "east"):
            out = self.run_consort("requisites", name, "--site", "site.json", "--json")
            self.assertEqual(out.returncode, 0, out.stdout + out.stderr)
            hosts[name] = sorted({h for r in json.loads(out.stdout.splitlines()[-1])["requisites"] for h in r["hosts"] if r["service"] == f"s-{name}"})
        where = {r["service"]: sorted(r["hosts"]) for r in json.loads(self.run_consort("requisites", "--site", "site.json", "--json").stdout.splitlines()[-1])["requisites"]}
        self.assertEqual({guard: where[f"guarded{i}"] for i, guard in enumerate(guards)}, guards)
        self.assertEqual(where["sized"], ["db1"])
        self.assertEqual(hosts["web"], ["web1", "web2.example.com", "web3.example.com"])
        self.assertEqual(hosts["db"], ["db1"])
        self.assertEqual(hosts["east"], ["db1", "web1", "web2.example.com", "web3.example.com"])


class PublishedSchema(Outside):
    schema = json.loads((ROOT / "docs/reference/site.schema.json").read_text())

    def evaluated(self, path):
        """The site as plain JSON. Endpoints answer with stand-ins: the fleet is not known here."""
        asked = "std.native('consort.endpoint')(service, name)"
        library = (ROOT / "src/site/consort.libsonnet").read_text()
        self.assertIn(asked, library)
        library = library.replace(asked, "{ addresses: ['10.0.0.1'], hosts: ['h1'], port: 80 }")

        def imported(folder, name):
            if name == "consort.libsonnet":
                return "consort.libsonnet", library
            found = pathlib.Path(folder) / name
            return str(found), found.read_text()

        return json.loads(_jsonnet.evaluate_file(str(path), import_callback=imported))

    def schema_refuses(self, site):
        return [error.message for error in jsonschema.Draft202012Validator(self.schema).iter_errors(site)]

    def program_refuses(self, site):
        (self.folder / "site.json").write_text(json.dumps(site))
        return self.run_consort("check", "--site", "site.json").returncode != 0

    def test_it_is_a_schema_and_the_examples_fit(self):
        jsonschema.Draft202012Validator.check_schema(self.schema)
        examples = sorted((ROOT / "examples").rglob("site*.jsonnet"))
        self.assertGreaterEqual(len(examples), 4)
        for path in examples:
            with self.subTest(example=path.name):
                self.assertEqual(self.schema_refuses(self.evaluated(path)), [])

    def test_init_writes_a_site_that_fits(self):
        self.assertEqual(self.run_consort("init", str(self.folder / "new")).returncode, 0)
        found = list((self.folder / "new").rglob("site.json*"))
        self.assertEqual(len(found), 1)
        self.assertEqual(self.schema_refuses(self.evaluated(found[0])), [])

    def test_the_schema_and_the_program_refuse_the_same(self):
        def good():
            return {"name": "x", "hostClasses": {"a": {"inventory": {"type": "hosts", "hosts": {"h1": {"address": "127.0.0.1"}}}}},
                    "services": {"s": {"on": "a", "dataVersion": 1, "provides": {"e": {"port": 80}}, "daemon": {"argv": ["/bin/x"]}, "hooks": {"validate": {"argv": ["/bin/true"], "timeout": "5s"}},
                                       "resources": {"f": {"type": "file", "path": "/x", "content": "y"}}},
                                 "t": {"on": "a", "daemon": {"argv": ["/bin/y"]}, "needs": {"e": {"service": "s", "endpoint": "e"}}}},
                    "policy": {"batches": [1, "30%"], "maxUnavailable": 1, "soak": "2s"}}

        self.assertEqual(self.schema_refuses(good()), [])
        self.assertFalse(self.program_refuses(good()))
        wrong = [
            (("polcy",), {}), (("name",), 7), (("services",), []), (("services", "s", "deamon"), {}), (("services", "s", "on"), None), (("services", "s", "dataVersion"), "one"),
            (("services", "s", "daemon", "argv"), "/bin/x"), (("services", "s", "daemon", "usr"), "me"), (("services", "s", "hooks", "strat"), {}), (("services", "s", "hooks", "validate", "timeout"), 5),
            (("services", "s", "hooks", "validate", "scope"), "galaxy"), (("services", "s", "resources", "f", "type"), "fiel"), (("services", "s", "resources", "f", "pth"), "/x"),
            (("services", "s", "provides", "e", "port"), "http"), (("services", "t", "needs", "e", "endpont"), "e"), (("services", "t", "needs", "e"), "s"), (("hostClasses", "a", "inventry"), {}),
            (("hostClasses", "a", "min"), "two"), (("policy", "onFailure"), "panic"), (("policy", "maxUnavailble"), 1), (("policy", "batches"), 3),
        ]
        for path, value in wrong:
            site = good()
            at = site
            for key in path[:-1]:
                at = at[key]
            at[path[-1]] = value
            with self.subTest(field=".".join(path)):
                self.assertTrue(self.program_refuses(site), "the program takes it")
                self.assertTrue(self.schema_refuses(site), "the schema takes it")


if __name__ == "__main__":
    run_tests()
