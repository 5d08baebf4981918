// Hosts without privileges: each is one agent process with the native supervisor, a folder that it
// takes for the root of its file system, and an address of its own in 127.0.0.0/8.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "platform/keeper.h"
#include "platform/platform.h"

namespace consort::platform {
namespace {

class ProcessPlatform final : public Platform {
 public:
  explicit ProcessPlatform(LabIdentity lab) : lab_(std::move(lab)) {}

  [[nodiscard]] std::string_view name() const override { return "process"; }
  [[nodiscard]] std::string address(int n) const override {
    return fmt::format("127.77.{}.{}", lab_.number, n);
  }
  [[nodiscard]] Status prepare(const Tell& /*tell*/) override {
    return make_folders(lab_.folder / "hosts");
  }

  [[nodiscard]] Status create(const HostSpec& host) override {
    for (const char* folder : {"root/etc", "root/run", "root/var/lib/consort"})
      TRYV(make_folders(folder_of(host) / folder));
    return write_file_atomic(folder_of(host) / "join", host.join_token + "\n", 0600,
                             Durability::cached);
  }

  [[nodiscard]] Status start(const HostSpec& host) override {
    return keeper_of(host).start(lab_.self, agent_of(host, controller()));
  }

  // A host that is switched off takes its daemons with it.
  [[nodiscard]] Status stop(const HostSpec& host) override {
    keeper_of(host).stop();
    return {};
  }
  [[nodiscard]] Status kill(const HostSpec& host) override {
    keeper_of(host).kill();
    return {};
  }
  [[nodiscard]] Status reboot(const HostSpec& host) override {
    TRYV(stop(host));
    return start(host);
  }

  // There is no network of its own to cut: the agent starts again with an address at which no
  // controller answers. (Port 9 is "discard", RFC 863.) Its daemons run on and are adopted.
  [[nodiscard]] Status cut(const HostSpec& host) override {
    return keeper_of(host).restart_with(agent_of(host, nowhere()));
  }
  [[nodiscard]] Status heal(const HostSpec& host) override {
    return keeper_of(host).restart_with(agent_of(host, controller()));
  }
  [[nodiscard]] bool is_cut(const HostSpec& host) const override {
    if (!runs(host)) return false;
    const auto order = keeper_of(host).order();
    return order &&
           std::find(order->argv.begin(), order->argv.end(), nowhere()) != order->argv.end();
  }
  [[nodiscard]] bool runs(const HostSpec& host) const override {
    return kept(host) || keeper_of(host).lost();
  }
  [[nodiscard]] bool kept(const HostSpec& host) const override { return keeper_of(host).running(); }

  [[nodiscard]] Result<std::vector<std::string>> exec_argv(
      const HostSpec& host, const std::vector<std::string>& argv) const override {
    const std::string root = (folder_of(host) / "root").string();
    std::vector<std::string> out = {"env", "--chdir=" + root, "CONSORT_HOST=" + host.name,
                                    "CONSORT_ADDRESS=" + host.address, "CONSORT_ROOT=" + root};
    out.insert(out.end(), argv.begin(), argv.end());
    return out;
  }

  [[nodiscard]] std::vector<std::string> inside_argv(
      const std::vector<std::string>& argv) const override {
    return argv;
  }

  [[nodiscard]] Status destroy() override {
    kill_marked(fmt::format("{}={}", kMemberVariable, lab_.id));
    return {};
  }

 private:
  [[nodiscard]] fs::path folder_of(const HostSpec& host) const {
    return lab_.folder / "hosts" / host.name;
  }
  [[nodiscard]] Keeper keeper_of(const HostSpec& host) const {
    return {folder_of(host) / "host", fmt::format("{}/{}", lab_.id, host.name)};
  }
  [[nodiscard]] std::string controller() const {
    return fmt::format("https://{}:{}", address(1), kControllerPort);
  }

  [[nodiscard]] std::string nowhere() const { return fmt::format("https://{}:9", address(1)); }

  [[nodiscard]] Keep agent_of(const HostSpec& host, const std::string& url) const {
    const fs::path folder = folder_of(host);
    Keep keep;
    keep.argv = {lab_.self.string(), "agent",
                 "--data",           (folder / "root/var/lib/consort").string(),
                 "--root",           (folder / "root").string(),
                 "--controller",     url,
                 "--join-file",      (folder / "join").string(),
                 "--name",           host.name,
                 "--address",        host.address,
                 "--supervisor",     "native"};
    keep.environment = {{kMemberVariable, lab_.id}};
    keep.restart = Keep::Restart::always;
    return keep;
  }

  LabIdentity lab_;
};

}  // namespace

std::unique_ptr<Platform> make_process_platform(const LabIdentity& lab) {
  return std::make_unique<ProcessPlatform>(lab);
}

}  // namespace consort::platform
