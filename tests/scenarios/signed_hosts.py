"""A controller whose operators sign, and a host that may have a list of whom it trusts."""
import json

from own_controller import Controller


class SignedHosts(Controller):
    """Given a controller whose operators ann and ben have keys; hosts may have a list of whom they trust."""

    def setUp(self):
        super().setUp()
        self.consort("key", "create", "ann")
        self.consort("key", "create", "ben")

    def trust(self, *keys, needed=1):
        """The operators' own list, and a file for the hosts."""
        file = self.folder / "trust.json"
        arguments = ["key", "trust", "--site-name", "s", "--needed", str(needed), *keys]
        self.consort(*arguments)
        self.consort(*arguments, "--out", str(file))
        return str(file)

    def host(self, trust=None):
        agent = self.agent("h1", self.token())
        self.wait_until("h1 is there", lambda: self.hosts()["h1"]["reachable"])
        if trust:
            self.end(agent)
            agent = self.start_host(trust)
        return agent

    def start_host(self, trust=None):
        data, root = self.folder / "agent-h1", self.folder / "root-h1"
        arguments = ["agent", "--data", str(data), "--root", str(root), "--controller", self.url, "--address", "127.0.0.1", "--supervisor", "native"]
        agent = self.spawn(*arguments, *(["--trust", trust] if trust else []))
        self.wait_until("the agent keeps its host", lambda: "keeps this host" in agent.log.read_text())
        self.wait_until("h1 is back", lambda: self.hosts()["h1"]["reachable"])
        return agent

    def site(self, name="site.json", **contents):
        services = {service: {"on": "all", "resources": {"f": {"type": "file", "path": f"/etc/{service}", "content": text}}} for service, text in contents.items()}
        path = self.folder / name
        hosts = {"all": {"inventory": {"type": "hosts", "hosts": {"h1": {"address": "127.0.0.1"}}}}}
        path.write_text(json.dumps({"name": "s", "hostClasses": hosts, "services": services}))
        return str(path)

    def deploy(self, *arguments, **contents):
        return self.consort("deploy", "--yes", "--site", self.site(**contents), *arguments)

    def runs(self):
        etc = self.folder / "root-h1/etc"
        return {p.name: p.read_text() for p in etc.iterdir()}

    def report(self):
        return self.consort("host", "show", "h1")["report"]

    def wait_for_refusal(self, word):
        self.wait_until(f"the host says '{word}'", lambda: any(word in (h["untrusted"] or "") for h in self.consort("status")["hosts"]))

    def table(self, store):
        return next(t for (t,) in store.execute("select name from sqlite_master where type='table'") if {"key", "value"} <= {c[1] for c in store.execute(f"pragma table_info({t})")})
