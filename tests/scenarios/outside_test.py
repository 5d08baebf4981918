"""Consort against what others made: Ansible's own inventory program, and a JSON Schema validator."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

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
        (self.folder / "site.json").write_text(json.dumps(site))
        checked = self.run_consort("check", "--site", "site.json", "--json")
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        hosts = {}
        for name in ("web", "db", "east"):
            out = self.run_consort("requisites", name, "--site", "site.json", "--json")
            self.assertEqual(out.returncode, 0, out.stdout + out.stderr)
            hosts[name] = sorted({h for r in json.loads(out.stdout.splitlines()[-1])["requisites"] for h in r["hosts"] if r["service"] == f"s-{name}"})
        self.assertEqual(hosts["web"], ["web1", "web2.example.com", "web3.example.com"])
        self.assertEqual(hosts["db"], ["db1"])
        self.assertEqual(hosts["east"], ["db1", "web1", "web2.example.com", "web3.example.com"])


class PublishedSchema(Outside):
    schema = json.loads((ROOT / "docs/reference/site.schema.json").read_text())

    def test_it_is_a_schema_itself(self):
        jsonschema.validators.validator_for(self.schema).check_schema(self.schema)


if __name__ == "__main__":
    run_tests()
