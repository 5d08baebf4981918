// What the hosts of a lab are made of: one small interface, two implementations.
//   nspawn   real systemd hosts in containers of their own, with their own addresses on a bridge
//   inside a network
//            namespace; needs root and systemd-container
//   process  one agent process per host with its own folder and 127.x.y.z address; needs no
//   privileges
// Not thread-safe. Everything can be found again by the lab's id, also after a crash.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "platform/root_image.h"

namespace consort::platform {

// What a platform must know of its lab.
struct LabIdentity {
  std::string id;   // eight characters, from its folder
  fs::path folder;  // absolute
  fs::path self;    // the consort program
  int number = 1;   // 1 to 250: which part of 127.0.0.0/8 it uses
};

struct HostSpec {
  std::string name;
  std::string address;
  std::string join_token{};  // with which its agent joins; for create() only
};

class Platform {
 public:
  Platform() = default;
  Platform(const Platform&) = delete;
  Platform& operator=(const Platform&) = delete;
  virtual ~Platform() = default;

  [[nodiscard]] virtual std::string_view name() const = 0;
  // The n-th address, n from 1 to 250. The first is the controller's.
  [[nodiscard]] virtual std::string address(int n) const = 0;
  // What all hosts share: network, root file system. Says what takes long.
  [[nodiscard]] virtual Status prepare(const Tell& tell) = 0;

  [[nodiscard]] virtual Status create(const HostSpec& host) = 0;  // its files; it does not run yet
  [[nodiscard]] virtual Status start(
      const HostSpec& host) = 0;  // returns when its agent has been started
  [[nodiscard]] virtual Status stop(const HostSpec& host) = 0;  // in order
  [[nodiscard]] virtual Status kill(const HostSpec& host) = 0;  // as if the power failed
  [[nodiscard]] virtual Status reboot(const HostSpec& host) = 0;
  [[nodiscard]] virtual Status cut(const HostSpec& host) = 0;  // off the network
  [[nodiscard]] virtual Status heal(const HostSpec& host) = 0;
  // Whether cut() is in force; false for a host that does not run.
  [[nodiscard]] virtual bool is_cut(const HostSpec& host) const = 0;
  [[nodiscard]] virtual bool runs(const HostSpec& host) const = 0;
  // False for one that runs although its keeper (keeper.h) was killed: nobody restarts its parts.
  [[nodiscard]] virtual bool kept(const HostSpec& host) const = 0;
  // The command line that runs `argv` in the host. Error: unavailable when it does not run.
  [[nodiscard]] virtual Result<std::vector<std::string>> exec_argv(
      const HostSpec& host, const std::vector<std::string>& argv) const = 0;

  // The command line that runs `argv` on this machine, but in the lab's network.
  [[nodiscard]] virtual std::vector<std::string> inside_argv(
      const std::vector<std::string>& argv) const = 0;
  // Ends and removes everything but the files in the lab's folder, whatever state it is in. Doing
  // it again is fine.
  [[nodiscard]] virtual Status destroy() = 0;
};

[[nodiscard]] std::unique_ptr<Platform> make_nspawn_platform(const LabIdentity& lab);
[[nodiscard]] std::unique_ptr<Platform> make_process_platform(const LabIdentity& lab);
// nullptr for an unknown name.
[[nodiscard]] std::unique_ptr<Platform> make_platform(std::string_view name,
                                                      const LabIdentity& lab);
[[nodiscard]] const std::vector<std::string_view>& platform_names();

// Why nspawn hosts cannot run here; nullopt when they can.
[[nodiscard]] std::optional<std::string> nspawn_obstacle();

// The choice, with the sentence that tells it. Errors: usage for an unknown name, unsupported for
// one that is forced and cannot be.
struct Choice {
  std::string name;
  std::string why;
};
[[nodiscard]] Result<Choice> choose_platform(const std::string& forced);

// The port that a lab's controller listens on.
inline constexpr int kControllerPort = 8440;

}  // namespace consort::platform
