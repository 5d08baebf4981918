// Real systemd hosts: systemd-nspawn(1) over an overlay of the cached root file system, on a bridge
// in the lab's own network namespace.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include "base/digest.h"
#include "base/process.h"
#include "base/text.h"
#include "platform/control_groups.h"
#include "platform/keeper.h"
#include "platform/mounts.h"
#include "platform/network_namespace.h"
#include "platform/platform.h"

namespace consort::platform {
namespace {

constexpr std::string_view kNetworkUnit = R"([Unit]
Description=The address of this host
DefaultDependencies=no
After=network-pre.target
Before=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'ip link set lo up; ip addr add {0}/24 dev host0; ip link set host0 up; ip route add default via {1}'
[Install]
WantedBy=multi-user.target
)";

constexpr std::string_view kAgentUnit = R"([Unit]
Description=Consort agent
After=consort-network.service dbus.service
Wants=consort-network.service
StartLimitIntervalSec=0
[Service]
ExecStart=/usr/bin/consort agent --data /var/lib/consort --join-file /etc/consort/join --controller https://{0}:{1} --name {2} --address {3} --supervisor systemd
Restart=always
RestartSec=200ms
[Install]
WantedBy=multi-user.target
)";

class NspawnPlatform final : public Platform {
 public:
  explicit NspawnPlatform(LabIdentity lab) : lab_(std::move(lab)), network_("consort-" + lab_.id) {}

  [[nodiscard]] std::string_view name() const override { return "nspawn"; }
  [[nodiscard]] std::string address(int n) const override { return fmt::format("10.77.1.{}", n); }

  [[nodiscard]] Status prepare(const Tell& tell) override {
    image_ = TRY(root_image(tell));
    if (!network_.exists()) TRYV(network_.create(address(1) + "/24"));
    return {};
  }

  [[nodiscard]] Status create(const HostSpec& host) override {
    const fs::path folder = folder_of(host);
    const fs::path root = folder / "root";
    // A tmpfs for what the host changes: fast, and gone with the lab.
    TRYV(mount_tmpfs(folder / "changes"));
    TRYV(mount_overlay(image_, folder / "changes" / "upper", folder / "changes" / "work", root));
    const auto put = [&](const std::string& path, const std::string& text) {
      return write_file_atomic(root / path, text, 0644, Durability::cached);
    };
    TRYV(put("etc/hostname", host.name + "\n"));
    TRYV(put("etc/hosts", fmt::format("127.0.0.1 localhost\n{} {}\n", host.address, host.name)));
    TRYV(put("etc/machine-id", Digest::of(lab_.id + "/" + host.name).str().substr(7, 32) + "\n"));
    TRYV(put("etc/systemd/system/consort-network.service",
             fmt::format(kNetworkUnit, host.address, address(1))));
    TRYV(put("etc/systemd/system/consort-agent.service",
             fmt::format(kAgentUnit, address(1), kControllerPort, host.name, host.address)));
    TRYV(make_folders(root / "etc/consort", 0755));
    TRYV(write_file_atomic(root / "etc/consort/join", host.join_token + "\n", 0600,
                           Durability::cached));
    TRYV(put("usr/bin/consort", ""));  // the place of the bind mount
    const fs::path wants = root / "etc/systemd/system/multi-user.target.wants";
    TRYV(make_folders(wants));
    for (const char* unit : {"consort-network.service", "consort-agent.service"}) {
      std::error_code error;
      fs::create_symlink(fs::path("/etc/systemd/system") / unit, wants / unit, error);
      if (error && error != std::errc::file_exists)
        return fail(ErrorCode::io, fmt::format("cannot enable {}: {}", unit, error.message()));
    }
    return {};
  }

  [[nodiscard]] Status start(const HostSpec& host) override {
    Keep keep;
    keep.argv = network_.enter(
        {"systemd-nspawn", "--quiet", "--directory=" + (folder_of(host) / "root").string(),
         "--boot", "--register=no", "--keep-unit", "--network-bridge=br0",
         "--machine=" + machine_of(host), "--hostname=" + host.name, "--console=pipe",
         "--resolv-conf=off", "--timezone=off", "--link-journal=no",
         fmt::format("--bind-ro={}:/usr/bin/consort", lab_.self.string())});
    keep.environment = {{kMemberVariable, lab_.id}, {"SYSTEMD_NSPAWN_LOCK", "0"}};
    keep.restart = Keep::Restart::on_reboot;
    keep.control_group = group_of(host);
    if (keeper_of(host).lost()) TRYV(kill(host));
    TRYV(keeper_of(host).start(lab_.self, keep));
    return wait_until_up(host);
  }

  [[nodiscard]] Status stop(const HostSpec& host) override {
    const pid_t init = init_of(host);
    // SIGRTMIN+4 asks systemd(1) to power off.
    if (init > 0) ::kill(init, SIGRTMIN + 4);
    const Keeper keeper = keeper_of(host);
    const ProcessId last = keeper.running() ? keeper.keeper() : keeper.program();
    if (!wait_for_end(last, seconds(30)) || keeper.lost()) return kill(host);
    remove_control_group(group_of(host));
    return {};
  }

  [[nodiscard]] Status kill(const HostSpec& host) override {
    keeper_of(host).kill();
    remove_control_group(group_of(host));
    return {};
  }

  [[nodiscard]] Status reboot(const HostSpec& host) override {
    const pid_t before = init_of(host);
    TRYV(run_tool(TRY(exec_argv(host, {"systemctl", "reboot", "--no-block"}))));
    for (int tries = 0; tries < 1200; ++tries) {
      const pid_t now = init_of(host);
      if (now > 0 && now != before) return wait_until_up(host);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return fail(ErrorCode::timeout, fmt::format("{} did not come back within a minute", host.name))
        .hint(fmt::format("see {}", keeper_of(host).log_file().string()));
  }

  // systemd-nspawn(1) names the outer end of a host's cable after the machine.
  [[nodiscard]] Status cut(const HostSpec& host) override {
    return network_.set_link("vb-" + machine_of(host), NetworkNamespace::Link::down);
  }
  [[nodiscard]] Status heal(const HostSpec& host) override {
    return network_.set_link("vb-" + machine_of(host), NetworkNamespace::Link::up);
  }
  [[nodiscard]] bool is_cut(const HostSpec& host) const override {
    if (!runs(host)) return false;
    const auto link = network_.link("vb-" + machine_of(host));
    return link && *link == NetworkNamespace::Link::down;
  }
  [[nodiscard]] bool runs(const HostSpec& host) const override { return init_of(host) > 0; }
  [[nodiscard]] bool kept(const HostSpec& host) const override { return keeper_of(host).running(); }

  [[nodiscard]] Result<std::vector<std::string>> exec_argv(
      const HostSpec& host, const std::vector<std::string>& argv) const override {
    const pid_t init = init_of(host);
    if (init <= 0)
      return fail(ErrorCode::unavailable, fmt::format("{} does not run", host.name))
          .hint(fmt::format("consort lab start {}", host.name));
    std::vector<std::string> out = {
        "nsenter",
        "--target",
        std::to_string(init),
        "--mount",
        "--uts",
        "--ipc",
        "--net",
        "--pid",
        "--cgroup",
        "--root",
        "--wd",
        "--",
        "env",
        "-i",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME=/root",
        "LANG=C.UTF-8",
        "CONSORT_HOST=" + host.name,
        "CONSORT_ADDRESS=" + host.address,
        "CONSORT_ROOT="};
    out.insert(out.end(), argv.begin(), argv.end());
    return out;
  }

  [[nodiscard]] std::vector<std::string> inside_argv(
      const std::vector<std::string>& argv) const override {
    return network_.enter(argv);
  }

  [[nodiscard]] Status destroy() override {
    const fs::path hosts = lab_.folder / "hosts";
    kill_marked(fmt::format("{}={}", kMemberVariable, lab_.id));
    remove_control_group("consort-lab/" + lab_.id);
    Status out = unmount_below(hosts);
    if (Status removed = network_.remove(); out && !removed) out = std::move(removed);
    remove_leftovers_of_nspawn();
    return out;
  }

 private:
  [[nodiscard]] fs::path folder_of(const HostSpec& host) const {
    return lab_.folder / "hosts" / host.name;
  }
  [[nodiscard]] Keeper keeper_of(const HostSpec& host) const {
    return {folder_of(host) / "host", fmt::format("{}/{}", lab_.id, host.name)};
  }
  [[nodiscard]] std::string group_of(const HostSpec& host) const {
    return fmt::format("consort-lab/{}/{}", lab_.id, host.name);
  }
  // Short: the names of network interfaces have 15 characters, "vb-" of which are nspawn's.
  [[nodiscard]] std::string machine_of(const HostSpec& host) const {
    return "c" + Digest::of(lab_.id + "/" + host.name).str().substr(7, 10);
  }

  // The host's process 1, as the machine sees it; 0 when it does not run.
  [[nodiscard]] pid_t init_of(const HostSpec& host) const {
    const ProcessId nspawn = keeper_of(host).program();
    if (!is_alive(nspawn)) return 0;
    for (const pid_t child : children_of(nspawn.pid)) {
      const auto status = read_file(fmt::format("/proc/{}/status", child));
      if (!status) continue;
      for (const std::string& line : split(*status, '\n')) {
        if (line.starts_with("NSpid:") && line.ends_with("\t1")) return child;
      }
    }
    return 0;
  }

  // Up: systemd there has started the agent.
  [[nodiscard]] Status wait_until_up(const HostSpec& host) const {
    for (int tries = 0; tries < 600; ++tries) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      if (!keeper_of(host).running()) break;
      if (!runs(host)) continue;
      ProcessSpec spec;
      spec.argv =
          TRY(exec_argv(host, {"systemctl", "is-active", "--quiet", "consort-agent.service"}));
      if (const auto outcome = run_process(spec); outcome && outcome->ok()) return {};
    }
    return fail(ErrorCode::timeout,
                fmt::format("{} does not boot:\n{}", host.name, keeper_of(host).last_words()))
        .hint(fmt::format("see {}", keeper_of(host).log_file().string()));
  }

  void remove_leftovers_of_nspawn() const {
    std::error_code error;
    for (fs::directory_iterator it(lab_.folder / "hosts", error), end; !error && it != end;
         it.increment(error)) {
      const std::string machine = machine_of({it->path().filename().string(), ""});
      for (const char* folder :
           {"/run/systemd/nspawn/propagate/", "/run/systemd/nspawn/unix-export/"})
        ::rmdir((folder + machine).c_str());
    }
  }

  LabIdentity lab_;
  NetworkNamespace network_;
  fs::path image_;
};

}  // namespace

std::unique_ptr<Platform> make_nspawn_platform(const LabIdentity& lab) {
  return std::make_unique<NspawnPlatform>(lab);
}

}  // namespace consort::platform
