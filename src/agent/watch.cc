#include "agent/watch.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <compare>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "agent/host_files.h"
#include "agent/packed_texts.h"

namespace consort::agent {
namespace {

constexpr std::uint32_t kEvents = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE |
                                  IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF |
                                  IN_ONLYDIR | IN_EXCL_UNLINK;

// One folder and what of a service is in it; a path is kept as no more than its name in there, for
// hosts with many files.
struct Place {
  struct Item {
    std::string name;  // "": whatever happens inside
    std::uint32_t resource = 0;
    friend auto operator<=>(const Item&, const Item&) = default;
  };
  std::string folder;
  std::vector<Item> items;  // sorted
  friend bool operator==(const Place&, const Place&) = default;

  [[nodiscard]] auto called(const std::string& name) const {
    return std::ranges::equal_range(items, name, {}, &Item::name);
  }
};

struct Service {
  std::string name;
  PackedTexts resources;
  std::vector<Place> places;  // sorted
  friend bool operator==(const Service&, const Service&) = default;
};

// Valid as long as its service is not set anew.
struct Part {
  const Service* service = nullptr;
  const Place* place = nullptr;
  friend auto operator<=>(const Part&, const Part&) = default;
};

// What a watch of the kernel is for.
struct Folder {
  std::vector<Part> parts;
  std::map<std::string, std::vector<Part>> awaited;  // by the name that leads there, once it exists
};

void add_unique(std::vector<Part>& list, const Part& item) {
  if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
}

Service make_service(const std::string& name,
                     const std::map<std::string, std::vector<std::string>>& paths) {
  Service out;
  out.name = name;
  std::map<std::string, std::vector<Place::Item>> places;
  for (const auto& [resource, list] : paths) {
    const auto number = static_cast<std::uint32_t>(out.resources.size());
    out.resources.add(resource);
    for (const std::string& path : list) {
      const bool inside = path.size() > 1 && path.back() == '/';
      places[inside ? path.substr(0, path.size() - 1) : parent_of(path)].push_back(
          {inside ? std::string() : base_of(path), number});
    }
  }
  for (auto& [folder, items] : places) {
    std::sort(items.begin(), items.end());
    items.erase(std::unique(items.begin(), items.end()), items.end());
    items.shrink_to_fit();
    out.places.push_back({folder, std::move(items)});
  }
  out.resources.shrink_to_fit();
  out.places.shrink_to_fit();
  return out;
}

}  // namespace

struct Watch::Impl {
  Callback callback;
  Fd inotify;
  Fd wake;
  std::mutex mutex;
  std::map<std::string, Service> services;
  std::map<int, Folder> folders;
  std::unordered_map<std::string, int> numbers;  // folder → watch
  bool exhausted = false;
  std::jthread thread;

  void nudge() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = ::write(wake.get(), &one, sizeof one);
  }

  // The folder is watched, or its nearest ancestor that exists.
  void arm(const Part& part) {
    std::string name;
    std::string folder = part.place->folder;
    while (true) {
      const auto known = numbers.find(folder);
      const int wd = known != numbers.end()
                         ? known->second
                         : ::inotify_add_watch(inotify.get(), folder.c_str(), kEvents);
      if (wd >= 0) {
        numbers[folder] = wd;
        Folder& watched = folders[wd];
        return add_unique(name.empty() ? watched.parts : watched.awaited[name], part);
      }
      if (errno == ENOSPC || errno == ENOMEM) {
        exhausted = true;
        return;
      }
      if (folder == "/") return;
      name = base_of(folder);
      folder = parent_of(folder);
    }
  }

  // What came out of some events.
  struct Found {
    std::set<std::pair<const Service*, std::uint32_t>> touched;
    std::set<Part> rearm;

    template <class Items>
    void touch(const Service* service, const Items& items) {
      for (const Place::Item& item : items) touched.emplace(service, item.resource);
    }
    void touch_all(const std::vector<Part>& parts) {
      for (const Part& part : parts) touch(part.service, part.place->items);
    }
    void rearm_all(const std::vector<Part>& parts) { rearm.insert(parts.begin(), parts.end()); }
    // All that is watched in this folder and below.
    void rearm_below(const Service& service, const std::string& folder) {
      auto it = std::ranges::lower_bound(service.places, folder, {}, &Place::folder);
      for (; it != service.places.end() && it->folder.starts_with(folder); ++it)
        rearm.insert({&service, &*it});
    }
  };

  void handle(const inotify_event& event, Found& found, Drift& drift) {
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
      folder.awaited.emplace("", std::move(folder.parts));
      for (const auto& [name, parts] : folder.awaited) {
        found.touch_all(parts);
        found.rearm_all(parts);
      }
      if ((event.mask & IN_MOVE_SELF) != 0) ::inotify_rm_watch(inotify.get(), event.wd);
      std::erase_if(numbers, [&](const auto& item) { return item.second == event.wd; });
      folders.erase(it);
      return;
    }
    const std::string name = event.len > 0 ? std::string(event.name) : std::string();
    const bool is_folder = (event.mask & IN_ISDIR) != 0;
    for (const Part& part : folder.parts) {
      if (!name.empty()) found.touch(part.service, part.place->called(name));
      if (!name.ends_with(".consort-new")) found.touch(part.service, part.place->called(""));
      const std::string& parent = part.place->folder;
      if (is_folder) found.rearm_below(*part.service, (parent == "/" ? "" : parent) + "/" + name);
    }
    const auto awaited = folder.awaited.find(name);
    if (awaited == folder.awaited.end()) return;
    found.touch_all(awaited->second);
    if (!is_folder) return;
    found.rearm_all(awaited->second);
    folder.awaited.erase(awaited);
  }

  void read_events(Drift& drift) {
    alignas(inotify_event) std::array<char, 65536> buffer{};
    Found found;
    const std::lock_guard lock(mutex);
    ssize_t n = 0;
    while ((n = ::read(inotify.get(), buffer.data(), buffer.size())) > 0) {
      for (ssize_t at = 0; at < n;) {
        const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
        at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
        handle(*event, found, drift);
      }
    }
    for (const Part& part : found.rearm) arm(part);
    for (const auto& [service, number] : found.touched)
      drift.resources[service->name].emplace(service->resources[number]);
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

void Watch::set(const std::string& service,
                const std::map<std::string, std::vector<std::string>>& paths) {
  Service made = make_service(service, paths);
  const std::lock_guard lock(impl_->mutex);
  Service& kept = impl_->services[service];
  if (kept != made) {
    const auto is_old = [&](const Part& part) { return part.service == &kept; };
    for (auto& [wd, folder] : impl_->folders) {
      std::erase_if(folder.parts, is_old);
      for (auto& [name, parts] : folder.awaited) std::erase_if(parts, is_old);
      std::erase_if(folder.awaited, [](const auto& item) { return item.second.empty(); });
    }
    kept = std::move(made);
  }
  for (const Place& place : kept.places) impl_->arm({&kept, &place});
  // Adding a watch twice gives the same number, so only what is no longer wanted goes.
  std::erase_if(impl_->numbers, [&](const auto& item) {
    const auto it = impl_->folders.find(item.second);
    if (it == impl_->folders.end()) return true;
    if (!it->second.parts.empty() || !it->second.awaited.empty()) return false;
    ::inotify_rm_watch(impl_->inotify.get(), item.second);
    impl_->folders.erase(it);
    return true;
  });
  if (impl_->exhausted) impl_->nudge();
}

}  // namespace consort::agent
