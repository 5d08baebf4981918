#include "agent/watch.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <compare>
#include <cstdint>
#include <mutex>
#include <span>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>

#include "agent/host_files.h"
#include "agent/packed_texts.h"

namespace consort::agent {
namespace {

constexpr std::uint32_t kEvents = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE |
                                  IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF |
                                  IN_ONLYDIR | IN_EXCL_UNLINK;
// Of a folder that only leads to others: whatever else happens in it wakes nobody.
constexpr std::uint32_t kOwnEvents = IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
constexpr std::chrono::seconds kRetry(60);  // of what could not be watched
constexpr int kMostRaces = 100;

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

  [[nodiscard]] std::span<const Item> called(const std::string& name) const {
    const auto first = std::ranges::lower_bound(items, name, {}, &Item::name);
    const auto last = std::ranges::upper_bound(first, items.end(), name, {}, &Item::name);
    return {first, last};
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

// What a watch of the kernel is for. One with neither parts nor awaited leads to others.
struct Folder {
  std::vector<const std::string*> paths;          // by which it is known
  std::vector<Part> parts;                        // few: of each service one for each path
  std::map<std::string, std::set<Part>> awaited;  // by the name that leads there, once it exists
  bool whole = false;                             // it has kEvents

  [[nodiscard]] bool leads_only() const { return parts.empty() && awaited.empty(); }
};

void add_unique(std::vector<Part>& list, const Part& item) {
  if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
}

bool is_below(std::string_view path, std::string_view folder) {
  return folder == "/" ||
         (path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/');
}

bool exists(const std::string& folder) {
  struct stat info {};
  return ::stat(folder.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
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
  std::set<Part> unwatched;                      // for want of watches
  bool told_of_exhaustion = false;
  // What came out of events and is not told yet.
  std::set<std::pair<const Service*, std::uint32_t>> touched;
  std::set<Part> to_arm;
  std::jthread thread;

  void nudge() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = ::write(wake.get(), &one, sizeof one);
  }

  template <class Items>
  void touch(const Service* service, const Items& items) {
    for (const Place::Item& item : items) touched.emplace(service, item.resource);
  }
  template <class Parts>
  void lose(const Parts& parts) {
    for (const Part& part : parts) touch(part.service, part.place->items);
    to_arm.insert(parts.begin(), parts.end());
  }
  // All that is watched in this folder and below.
  void lose_below(const Service& service, const std::string& folder) {
    auto it = std::ranges::lower_bound(service.places, folder, {}, &Place::folder);
    // What sorts between, as "/srv/a.old" between "/srv/a" and "/srv/a/b", is stepped over.
    for (; it != service.places.end() && it->folder.starts_with(folder); ++it) {
      if (it->folder == folder || is_below(it->folder, folder))
        lose(std::array{Part{&service, &*it}});
    }
  }

  // The kernel is asked each time: a path may have become another folder, which no event has told.
  // -1 with errno: it cannot be watched.
  int watch_folder(const std::string& path, bool whole) {
    const int wd = ::inotify_add_watch(inotify.get(), path.c_str(),
                                       whole ? kEvents : kOwnEvents | IN_MASK_ADD);
    const int error_number = errno;
    const auto known = numbers.find(path);
    if (known != numbers.end() && known->second != wd) forget_path(known);
    errno = error_number;
    if (wd < 0) return wd;
    Folder& folder = folders[wd];
    folder.whole = folder.whole || whole;
    if (const auto [it, fresh] = numbers.emplace(path, wd); fresh)
      folder.paths.push_back(&it->first);
    return wd;
  }

  // It leads elsewhere now, or nowhere; and so does all below it.
  void forget_path(std::unordered_map<std::string, int>::iterator known) {
    for (const auto& [name, service] : services) lose_below(service, known->first);
    const auto it = folders.find(known->second);
    if (it != folders.end()) {
      Folder& folder = it->second;
      std::erase(folder.paths, &known->first);
      lose(folder.parts);
      for (const auto& [name, parts] : folder.awaited) lose(parts);
      folder.parts.clear();
      folder.awaited.clear();
      if (folder.paths.empty()) {
        ::inotify_rm_watch(inotify.get(), it->first);
        folders.erase(it);
      }
    }
    numbers.erase(known);
  }

  void forget_folder(std::map<int, Folder>::iterator it) {
    for (const std::string* path : it->second.paths) numbers.erase(*path);
    folders.erase(it);
  }

  // The part's folder is watched, or its nearest ancestor that exists; and the folders that lead
  // there are, for the case that one of them is moved away. `seen`: those of which that is known.
  void arm(const Part& part, std::set<std::string>& seen) {
    unwatched.erase(part);
    for (int races = 0;; ++races) {
      std::string name;
      std::string folder = part.place->folder;
      int wd = -1;
      bool was_absent = false;
      while ((wd = watch_folder(folder, true)) < 0) {
        was_absent = errno == ENOENT;
        if (errno == ENOSPC || errno == ENOMEM) {
          unwatched.insert(part);
          return;
        }
        if (folder == "/") return;
        name = base_of(folder);
        folder = parent_of(folder);
      }
      if (name.empty()) {
        add_unique(folders[wd].parts, part);
      } else {
        folders[wd].awaited[name].insert(part);
        // It may have come in the moment before its folder was watched.
        if (was_absent && races < kMostRaces &&
            exists((folder == "/" ? "" : folder) + "/" + name)) {
          stop_awaiting(wd, name, part);
          continue;
        }
      }
      // It may have been moved away in the moment before the folder above it was followed.
      if (!lead_to(folder, part, seen) || races >= kMostRaces || watch_folder(folder, true) == wd)
        return;
      stop_awaiting(wd, name, part);
    }
  }

  void stop_awaiting(int wd, const std::string& name, const Part& part) {
    const auto folder = folders.find(wd);
    if (folder == folders.end()) return;
    const auto it = folder->second.awaited.find(name);
    if (it == folder->second.awaited.end()) return;
    it->second.erase(part);
    if (it->second.empty()) folder->second.awaited.erase(it);
    narrow(wd);
  }

  // Whether the kernel was asked for any.
  bool lead_to(const std::string& folder, const Part& part, std::set<std::string>& seen) {
    bool asked = false;
    for (std::string at = parent_of(folder); at != "/" && seen.insert(at).second;
         at = parent_of(at)) {
      asked = true;
      if (watch_folder(at, false) < 0 && (errno == ENOSPC || errno == ENOMEM))
        unwatched.insert(part);
    }
    return asked;
  }

  // Nothing is waited for in it any more.
  void narrow(int wd) {
    const auto it = folders.find(wd);
    if (it == folders.end() || !it->second.whole || !it->second.leads_only() ||
        it->second.paths.empty())
      return;
    // Its path may be another folder by now, which gets no more than it has.
    if (::inotify_add_watch(inotify.get(), it->second.paths.front()->c_str(), kOwnEvents) == wd)
      it->second.whole = false;
  }

  void arm_what_is_lost() {
    std::set<std::string> seen;
    // Arming finds more that is lost, each path once.
    while (!to_arm.empty()) {
      const std::set<Part> parts = std::exchange(to_arm, {});
      for (const Part& part : parts) arm(part, seen);
    }
  }

  void handle(const inotify_event& event, Drift& drift) {
    if ((event.mask & IN_Q_OVERFLOW) != 0) {
      drift.everything = true;
      drift.warning =
          "the kernel dropped file events (fs.inotify.max_queued_events); everything is looked at "
          "once";
      // Folders may have come and gone unseen.
      for (const auto& [name, service] : services) {
        for (const Place& place : service.places) to_arm.insert({&service, &place});
      }
      return;
    }
    const auto it = folders.find(event.wd);
    if (it == folders.end()) return;
    Folder& folder = it->second;
    if ((event.mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) != 0) {
      lose(folder.parts);
      for (const auto& [name, parts] : folder.awaited) lose(parts);
      for (const std::string* path : folder.paths) {
        for (const auto& [name, service] : services) lose_below(service, *path);
      }
      if ((event.mask & IN_MOVE_SELF) != 0) ::inotify_rm_watch(inotify.get(), event.wd);
      forget_folder(it);
      return;
    }
    const std::string name = event.len > 0 ? std::string(event.name) : std::string();
    const bool came_or_went =
        (event.mask & IN_ISDIR) != 0 &&
        (event.mask & (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)) != 0;
    for (const Part& part : folder.parts) {
      if (!name.empty()) touch(part.service, part.place->called(name));
      if (!name.ends_with(".consort-new")) touch(part.service, part.place->called(""));
      const std::string& parent = part.place->folder;
      if (came_or_went) lose_below(*part.service, (parent == "/" ? "" : parent) + "/" + name);
    }
    const auto awaited = folder.awaited.find(name);
    if (awaited == folder.awaited.end()) return;
    if ((event.mask & IN_ISDIR) == 0) {
      for (const Part& part : awaited->second) touch(part.service, part.place->items);
      return;
    }
    lose(awaited->second);
    folder.awaited.erase(awaited);
    narrow(event.wd);
  }

  void read_events(Drift& drift) {
    alignas(inotify_event) std::array<char, 65536> buffer{};
    const std::lock_guard lock(mutex);
    ssize_t n = 0;
    while ((n = ::read(inotify.get(), buffer.data(), buffer.size())) > 0) {
      for (ssize_t at = 0; at < n;) {
        const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
        at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
        handle(*event, drift);
      }
    }
    arm_what_is_lost();
    for (const auto& [service, number] : std::exchange(touched, {}))
      drift.resources[service->name].emplace(service->resources[number]);
    report_exhaustion(drift);
  }

  // Once, until all is watched again.
  void report_exhaustion(Drift& drift) {
    if (!unwatched.empty() && !told_of_exhaustion) {
      drift.everything = true;
      drift.warning =
          "no more files can be watched (fs.inotify.max_user_watches); drift there is found by the "
          "audits only";
    }
    told_of_exhaustion = !unwatched.empty();
  }

  // There may be room by now; what happened meanwhile nobody has told.
  void try_again() {
    const std::lock_guard lock(mutex);
    std::set<std::string> seen;
    for (const Part& part : std::exchange(unwatched, {})) {
      arm(part, seen);
      if (!unwatched.contains(part)) touch(part.service, part.place->items);
    }
  }

  // Until then events may come, or none, in milliseconds; -1: there is nothing to try again.
  [[nodiscard]] int patience(std::chrono::steady_clock::time_point next_try) {
    const std::lock_guard lock(mutex);
    if (unwatched.empty()) return -1;
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(next_try - std::chrono::steady_clock::now());
    return static_cast<int>(std::max<std::int64_t>(left.count(), 0));
  }

  // Nobody has parts in it any more; `service` is about to be set anew.
  void take_out(const Service& service) {
    const auto is_old = [&](const Part& part) { return part.service == &service; };
    for (auto& [wd, folder] : folders) {
      std::erase_if(folder.parts, is_old);
      for (auto& [name, parts] : folder.awaited) std::erase_if(parts, is_old);
      std::erase_if(folder.awaited, [](const auto& item) { return item.second.empty(); });
    }
    std::erase_if(unwatched, is_old);
    std::erase_if(to_arm, is_old);
    std::erase_if(touched, [&](const auto& item) { return item.first == &service; });
  }

  // Removes what is for nobody, before others want its watches.
  void prune() {
    std::set<std::string_view> wanted;
    for (const auto& [name, service] : services) {
      for (const Place& place : service.places) {
        for (std::string_view at = place.folder; at.size() > 1 && wanted.insert(at).second;
             at = at.substr(0, std::max<std::size_t>(at.rfind('/'), 1))) {
        }
      }
    }
    for (auto it = folders.begin(); it != folders.end();) {
      const auto next = std::next(it);
      const bool is_wanted = std::ranges::any_of(
          it->second.paths, [&](const std::string* path) { return wanted.contains(*path); });
      if (it->second.leads_only() && !is_wanted) {
        ::inotify_rm_watch(inotify.get(), it->first);
        forget_folder(it);
      }
      it = next;
    }
  }

  void loop(const std::stop_token& stop) {
    auto next_try = std::chrono::steady_clock::now() + kRetry;
    while (!stop.stop_requested()) {
      std::array<pollfd, 2> fds = {pollfd{wake.get(), POLLIN, 0}, pollfd{inotify.get(), POLLIN, 0}};
      if (::poll(fds.data(), fds.size(), patience(next_try)) < 0 && errno != EINTR) return;
      if (std::chrono::steady_clock::now() >= next_try) {
        try_again();
        next_try = std::chrono::steady_clock::now() + kRetry;
      }
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
    impl_->take_out(kept);
    kept = std::move(made);
    impl_->prune();
  }
  std::set<std::string> seen;
  for (const Place& place : kept.places) impl_->arm({&kept, &place}, seen);
  impl_->arm_what_is_lost();
  if (!impl_->touched.empty() || !impl_->unwatched.empty()) impl_->nudge();
}

}  // namespace consort::agent
