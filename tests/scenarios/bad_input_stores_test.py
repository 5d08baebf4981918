"""Objects that are damaged and disks that are full: it is said, nothing damaged is installed, what runs goes on."""
import hashlib
import os
import subprocess
import time

from harness import SharedScenario, found, run_tests


class Stores(SharedScenario):
    """Damaged objects and full disks."""

    hosts = "h=2"

    def artifact_site(self, content, hosts=("h1",), name="artifact.json"):
        (self.folder / "payload").write_text(content)
        service = self.service("s", "a", version=hashlib.sha256(content.encode()).hexdigest()[:8], artifacts={"app": {"file": "payload"}})
        return self.site({"a": list(hosts)}, {"s": service}, name=name)

    def objects(self, where):
        return {path for path in where.rglob("objects/objects/*/*") if path.is_file()}

    def flip(self, path):
        mode = path.stat().st_mode
        path.chmod(0o600)
        data = bytearray(path.read_bytes())
        for at in range(len(data) // 2, min(len(data), len(data) // 2 + 8)):
            data[at] ^= 0xFF
        path.write_bytes(bytes(data))
        path.chmod(mode)

    def blob_of(self, content):
        """The path of the object below objects/objects."""
        digest = hashlib.sha256(content.encode()).hexdigest()
        return f"{digest[:2]}/{digest[2:]}"

    def installed(self, host, content):
        """Whether that very content is somewhere on the host, outside of its store."""
        for path in found(self.lab / "hosts" / host / "root", "*"):
            if path.is_file() and not path.is_symlink() and "objects" not in path.parts and path.stat().st_size == len(content):
                if path.read_bytes() == content.encode():
                    return True
        return False

    def test_a_damaged_object_in_the_controllers_store_is_never_installed(self):
        content = f"sound {time.monotonic_ns()} " + "content " * 2000
        self.must_be_well()
        self.must_deploy(self.artifact_site(content, ("h1",)), "--allow-shrink")
        self.assertTrue(self.installed("h1", content))
        self.flip(self.controller_data() / "objects/objects" / self.blob_of(content))
        # The second host gets the service now, and must fetch what is damaged.
        site = self.artifact_site(content, ("h1", "h2"), "both.json")
        outcome = self.deploy(site)
        self.assert_says(outcome, 4, "damaged", "sha256:" + hashlib.sha256(content.encode()).hexdigest(), "deploy again", '"step":"fetch"')
        self.assertNotIn("s@h2", self.instances())
        self.assertFalse(self.installed("h2", content))
        self.assertEqual(self.instances()["s@h1"]["health"], "healthy")
        # What is damaged is forgotten, so that the next deploy sends it anew.
        self.must_deploy(site)
        self.assertTrue(self.installed("h2", content))
        self.must_be_well()

    def test_a_damaged_manifest_in_the_controllers_store(self):
        content = f"manifest {time.monotonic_ns()}"
        site = self.artifact_site(content, ("h1",))
        self.must_deploy(site, "--allow-shrink")
        digest = self.instances()["s@h1"]["manifest"].removeprefix("sha256:")
        self.flip(self.controller_data() / "objects/objects" / digest[:2] / digest[2:])
        self.lab_verb("kill", "controller")
        self.lab_verb("start", "controller")
        self.wait_until("it answers", lambda: self.consort("status", "--json").status == 0)
        self.assertEqual(self.instances()["s@h1"]["health"], "healthy")
        first = self.plan(site)
        if first.status != 0:
            self.assert_says(first, 1, "damaged", digest)
        self.wait_until("the hosts are back", lambda: all(h["reachable"] for h in self.consort("host", "list", "--json").json["hosts"]))
        self.assertEqual(self.plan(site).status, 0)
        self.must_be_well()

    def test_a_damaged_object_in_an_agents_store(self):
        content = f"agent {time.monotonic_ns()} " + "content " * 2000
        site = self.artifact_site(content, ("h1",))
        self.must_deploy(site, "--allow-shrink")
        store = self.lab / "hosts/h1/root/var/lib/consort/objects/objects"
        self.flip(store / self.blob_of(content))
        self.must_deploy(self.artifact_site("other", ("h1",), "other.json"))
        # Back to what is damaged here: it is noticed and fetched anew.
        back = self.deploy(self.artifact_site(content, ("h1",)))
        if back.status != 0:
            self.assert_says(back, 4, "damaged")
            self.must_deploy(self.artifact_site(content, ("h1",)))
        self.assertTrue(self.installed("h1", content))
        self.assertEqual(self.instances()["s@h1"]["health"], "healthy")
        self.must_be_well()

    def on_small_disk(self, folder, size):
        """The folder, with what is in it, on a file system of its own. Its user must be down."""
        if os.geteuid() != 0:
            self.skipTest("mounting a small file system needs root")
        kept = self.folder / f"kept-{time.monotonic_ns()}"
        subprocess.run(["cp", "-a", str(folder), str(kept)], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
        self.keeper.addCleanup(subprocess.run, ["umount", "-l", str(folder)], check=False)
        subprocess.run(["cp", "-a", f"{kept}/.", str(folder)], check=True)

    def fill(self, folder):
        file = os.open(folder / "ballast", os.O_WRONLY | os.O_CREAT)
        try:
            size = 1 << 20
            while size:
                try:
                    os.write(file, b"x" * size)
                except OSError:
                    size //= 2
        finally:
            os.close(file)

    def test_y_the_controllers_disk_is_full(self):
        self.must_be_well()
        data = self.controller_data()
        self.lab_verb("kill", "controller")
        self.on_small_disk(data, "24m")
        self.lab_verb("start", "controller")
        self.must_be_well()
        generation = self.generation()
        self.fill(data)
        mark = self.mark()
        full = self.deploy(self.artifact_site("never " * 100_000, ("h1", "h2")))
        self.assertNotEqual(full.status, 0, str(full))
        self.assertRegex(full.out + full.err, "No space left|disk is full|full")
        self.assertIn("hint", full.out + full.err)
        self.assert_no_crash(full.out + full.err)
        self.assertEqual(self.story(mark), [])
        # It answers on, and knows what it knew.
        self.assertEqual(self.generation(), generation)
        self.assertEqual({row["health"] for row in self.instances().values()}, {"healthy"})
        # Also when it is killed and started on the full disk.
        self.lab_verb("kill", "controller")
        self.consort("status")
        os.unlink(data / "ballast")
        self.run_consort("lab", "start", "--dir", str(self.lab), "controller")
        self.wait_until("it answers", lambda: self.consort("status", "--json").status == 0)
        self.assertEqual(self.generation(), generation)
        self.wait_until("the hosts are back", lambda: all(h["reachable"] for h in self.consort("host", "list", "--json").json["hosts"]), 60)
        self.must_be_well()

    def test_z_a_hosts_disk_is_full(self):
        self.must_be_well()
        data = self.lab / "hosts/h2/root/var/lib/consort"
        self.lab_verb("kill", "h2")
        self.on_small_disk(data, "64m")
        self.lab_verb("start", "h2")
        self.wait_until("h2 is back", lambda: all(h["reachable"] for h in self.consort("host", "list", "--json").json["hosts"]), 60)
        self.must_be_well()
        self.must_deploy(self.artifact_site("small", ("h1", "h2")))
        self.fill(data)
        mark = self.mark()
        full = self.deploy(self.artifact_site("big " * 100_000, ("h2",), "big.json"), "--allow-shrink")
        self.assertIn(full.status, (3, 4), str(full))
        self.assertRegex(full.out, "No space left|free|space")
        self.assert_no_crash(full.out + full.err)
        self.assertEqual([line for line in self.story(mark) if line.endswith("h2") and line.startswith("stop")], [], "the old version was stopped for nothing")
        self.assertEqual(self.instances()["s@h2"]["health"], "healthy")
        os.unlink(data / "ballast")
        self.must_be_well()


if __name__ == "__main__":
    run_tests()
