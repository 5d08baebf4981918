#include "agent/watch.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "agent/host_files.h"

namespace consort::agent {
namespace {

constexpr std::uint32_t kEvents = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE |
                                  IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF |
                                  IN_ONLYDIR | IN_EXCL_UNLINK;

struct Folder {
  std::unordered_map<std::string, std::vector<std::uint32_t>> by_name;
  std::vector<std::uint32_t> any;  // whatever happens inside
};

void add_unique(std::vector<std::uint32_t>& list, std::uint32_t item) {
  if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
}

}  // namespace

struct Watch::Impl {
  Callback callback;
  Fd inotify;
  Fd wake;
  std::mutex mutex;
  std::vector<std::string> names;
  std::vector<std::vector<std::string>> paths;
  std::map<int, Folder> folders;
  std::unordered_map<std::string, int> numbers;  // folder → watch
  bool exhausted = false;
  std::jthread thread;

  void nudge() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = ::write(wake.get(), &one, sizeof one);
  }

  // The folder is watched, or its nearest ancestor that exists; `name` becomes what to look for
  // there.
  Folder* arm_folder(std::string folder, std::string& name) {
    while (true) {
      const auto known = numbers.find(folder);
      if (known != numbers.end()) return &folders[known->second];
      const int wd = ::inotify_add_watch(inotify.get(), folder.c_str(), kEvents);
      if (wd >= 0) {
        numbers[folder] = wd;
        return &folders[wd];
      }
      if (errno == ENOSPC || errno == ENOMEM) {
        exhausted = true;
        return nullptr;
      }
      if (folder == "/") return nullptr;
      name = base_of(folder);
      folder = parent_of(folder);
    }
  }

  void arm(std::uint32_t i) {
    for (const std::string& path : paths[i]) {
      std::string name;
      if (path.size() > 1 && path.back() == '/') {
        Folder* folder = arm_folder(path.substr(0, path.size() - 1), name);
        if (folder != nullptr) add_unique(name.empty() ? folder->any : folder->by_name[name], i);
        continue;
      }
      name = base_of(path);
      if (Folder* folder = arm_folder(parent_of(path), name)) add_unique(folder->by_name[name], i);
    }
  }

  void collect(const Folder& folder, std::set<std::uint32_t>& out) {
    out.insert(folder.any.begin(), folder.any.end());
    for (const auto& [name, list] : folder.by_name) out.insert(list.begin(), list.end());
  }

  void handle(const inotify_event& event, std::set<std::uint32_t>& touched,
              std::set<std::uint32_t>& rearm, Drift& drift) {
    if ((event.mask & IN_Q_OVERFLOW) != 0) {
      drift.everything = true;
      drift.warning =
          "the kernel dropped file events (fs.inotify.max_queued_events); everything is looked at "
          "once";
      return;
    }
    const auto it = folders.find(event.wd);
    if (it == folders.end()) return;
    Folder& folder = it->second;
    if ((event.mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) != 0) {
      collect(folder, touched);
      collect(folder, rearm);
      if ((event.mask & IN_MOVE_SELF) != 0) ::inotify_rm_watch(inotify.get(), event.wd);
      std::erase_if(numbers, [&](const auto& item) { return item.second == event.wd; });
      folders.erase(it);
      return;
    }
    const std::string name = event.len > 0 ? std::string(event.name) : std::string();
    const auto listed = folder.by_name.find(name);
    if (listed != folder.by_name.end()) {
      touched.insert(listed->second.begin(), listed->second.end());
      if ((event.mask & IN_ISDIR) != 0) rearm.insert(listed->second.begin(), listed->second.end());
    }
    if (!name.ends_with(".consort-new")) {
      touched.insert(folder.any.begin(), folder.any.end());
      if ((event.mask & IN_ISDIR) != 0) rearm.insert(folder.any.begin(), folder.any.end());
    }
  }

  void read_events(Drift& drift) {
    alignas(inotify_event) std::array<char, 65536> buffer{};
    std::set<std::uint32_t> touched;
    std::set<std::uint32_t> rearm;
    const std::lock_guard lock(mutex);
    ssize_t n = 0;
    while ((n = ::read(inotify.get(), buffer.data(), buffer.size())) > 0) {
      for (ssize_t at = 0; at < n;) {
        const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
        at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
        handle(*event, touched, rearm, drift);
      }
    }
    for (const std::uint32_t i : rearm) {
      if (i < paths.size()) arm(i);
    }
    for (const std::uint32_t i : touched) {
      if (i < names.size()) drift.resources.insert(names[i]);
    }
    report_exhaustion(drift);
  }

  void report_exhaustion(Drift& drift) {
    if (!exhausted) return;
    exhausted = false;
    drift.everything = true;
    drift.warning =
        "no more files can be watched (fs.inotify.max_user_watches); drift there is found by the "
        "audits only";
  }

  void loop(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      std::array<pollfd, 2> fds = {pollfd{wake.get(), POLLIN, 0}, pollfd{inotify.get(), POLLIN, 0}};
      if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) return;
      std::uint64_t count = 0;
      [[maybe_unused]] const ssize_t n = ::read(wake.get(), &count, sizeof count);
      Drift drift;
      read_events(drift);
      if ((!drift.resources.empty() || drift.everything) && !stop.stop_requested()) callback(drift);
    }
  }
};

Watch::Watch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Watch::~Watch() {
  impl_->thread.request_stop();
  impl_->nudge();
  if (impl_->thread.joinable()) impl_->thread.join();
}

Result<std::unique_ptr<Watch>> Watch::create(Callback callback) {
  auto impl = std::make_unique<Impl>();
  impl->callback = std::move(callback);
  impl->inotify = Fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!impl->inotify.valid())
    return fail(ErrorCode::io, "no inotify instance is left")
        .hint("raise fs.inotify.max_user_instances with sysctl");
  impl->wake = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!impl->wake.valid()) return fail_errno(errno, "cannot create an event descriptor");
  Impl& shared = *impl;
  impl->thread = std::jthread([&shared](const std::stop_token& stop) { shared.loop(stop); });
  return std::unique_ptr<Watch>(new Watch(std::move(impl)));
}

void Watch::set(const std::map<std::string, std::vector<std::string>>& paths) {
  const std::lock_guard lock(impl_->mutex);
  const auto old = std::move(impl_->numbers);
  impl_->numbers.clear();
  impl_->folders.clear();
  impl_->names.clear();
  impl_->paths.clear();
  for (const auto& [name, list] : paths) {
    impl_->names.push_back(name);
    impl_->paths.push_back(list);
  }
  for (std::uint32_t i = 0; i < impl_->names.size(); ++i) impl_->arm(i);
  // Adding a watch twice gives the same number, so only what is no longer wanted goes.
  for (const auto& [folder, wd] : old) {
    if (!impl_->folders.contains(wd)) ::inotify_rm_watch(impl_->inotify.get(), wd);
  }
  if (impl_->exhausted) impl_->nudge();
}

}  // namespace consort::agent
