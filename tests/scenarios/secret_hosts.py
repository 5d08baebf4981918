"""Hosts that have joined a real controller with TLS, a poison string, and the search for it in every file, answer, log and process."""
import base64
import json
import pathlib

from harness import found
from own_controller import Controller

POISON = "Poison-5f2b9c-that-nobody-may-see"


def spellings(value):
    """The value as it may hide: in base64 at any offset, in hex, too."""
    raw = value.encode()
    out = {raw, raw.hex().encode(), raw[::-1]}
    for offset in range(3):
        text = base64.b64encode(b"x" * offset + raw)
        out |= {text[4:-4], text[4:-4].replace(b"+", b"-").replace(b"/", b"_")}
    return out


class SecretHosts(Controller):
    """Given two hosts that have joined, and a site whose service `shop` writes ${secret.db} into a file."""

    hosts_named = ("web1", "web2")

    def setUp(self):
        super().setUp()
        self.said = []
        token = self.token("--uses", "9")
        self.agents = {name: self.agent(name, token) for name in self.hosts_named}
        self.wait_until("all are there", lambda: all(self.hosts()[n]["reachable"] for n in self.hosts_named))
        self.wait_until("all have told their keys", lambda: all(self.knows_key(n) for n in self.hosts_named))

    def knows_key(self, host):
        return host in json.loads(self.ask("GET", "/v1/secrets/any", certificate=self.admin_file())[1])["hosts"]

    def run_consort(self, *arguments, **more):
        done = super().run_consort(*arguments, **more)
        if hasattr(self, "said"):
            self.said.append((arguments, done.stdout + done.stderr))
        return done

    def site(self, *hosts, text="user=app\npassword=${secret.db}\njson=${json:secret.db}\n", secrets=None, **more):
        services = {"shop": {"on": "all", "resources": {"conf": {"type": "file", "path": "${service.data}/app.conf", "content": text}}}, **more}
        path = self.folder / "site.json"
        path.write_text(json.dumps({"name": "s", "hostClasses": {"all": {"inventory": {"type": "hosts", "hosts": {h: {"address": "127.0.0.1"} for h in hosts or self.hosts_named}}}}, "services": services,
                                    **({"secrets": secrets} if secrets is not None else {})}))
        return str(path)

    def file(self, host):
        return self.folder / f"agent-{host}/services/shop/data/app.conf"

    def content(self, host):
        return self.file(host).read_text()

    def set_secret(self, value, *arguments):
        return self.consort("secret", "set", "db", "--site", str(self.folder / "site.json"), *arguments, stdin=value)

    def nowhere(self, *values, but=()):
        """No file below the folder of the test has it, nothing that was printed, no process of consort."""
        allowed = {self.file(h) for h in self.hosts_named} | set(but)
        words = set().union(*(spellings(v) for v in values))
        looked = 0
        for path in found(self.folder, "*"):
            if not path.is_file() or path.is_symlink() or path in allowed:
                continue
            try:
                content = path.read_bytes()
            except FileNotFoundError:  # the hosts work meanwhile
                continue
            looked += 1
            for word in words:
                self.assertNotIn(word, content, f"{path} holds the secret")
        self.assertGreater(looked, 30)
        for arguments, text in self.said:
            for word in words:
                self.assertNotIn(word, text.encode(), arguments)
        for process in self.processes:
            for kind in ("environ", "cmdline"):
                for word in words:
                    self.assertNotIn(word, pathlib.Path(f"/proc/{process.pid}/{kind}").read_bytes() if process.poll() is None else b"", kind)
